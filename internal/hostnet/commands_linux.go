package hostnet

// Commands returns the commands for a shell that make the changes on this machine.
func Commands(want []Change) ([]string, error) {
	want, err := compact(want)
	if err != nil {
		return nil, err
	}
	var list []string
	for _, c := range want {
		list = append(list, c.Command())
	}
	return list, nil
}
