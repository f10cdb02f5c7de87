// Package bench holds what is measured about steppe, and how.
package bench
