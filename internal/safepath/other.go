//go:build !unix

package safepath

import "os"

// OpenRegular opens a regular file for reading. A relative path counts from the
// working directory, as dir is nil. What others can change is not known here.
func OpenRegular(dir *os.File, path string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	switch {
	case err != nil:
	case fi.IsDir():
		err = &os.PathError{Op: "open", Path: path, Err: errDirectory}
	case !fi.Mode().IsRegular():
		err = &os.PathError{Op: "open", Path: path, Err: errNotRegular}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Create is os.Create.
func Create(path string) (*os.File, error) { return os.Create(path) }
