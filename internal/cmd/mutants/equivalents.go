package main

// equivalents are changes that behave as the original does in every way that a
// caller can see.
var equivalents = []equivalent{}
