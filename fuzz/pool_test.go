package fuzz

import "time"

// start is the time at which pools begin.
var start = time.Unix(1_795_193_388, 250_000_000)
