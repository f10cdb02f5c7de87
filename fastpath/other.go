//go:build !linux

package fastpath

import (
	"errors"

	"github.com/steppe-nat64/steppe/translate"
)

// Supported returns errors.ErrUnsupported: the program is for Linux.
func Supported() error { return errors.ErrUnsupported }

// Prove returns errors.ErrUnsupported: the program is for Linux.
func Prove(translate.Config, translate.TableConfig) error { return errors.ErrUnsupported }
