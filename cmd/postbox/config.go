package main

import (
	"fmt"
	"io"
	"os"

	"postbox/broker"
	"postbox/configs"
)

// configCmd groups what can be asked about the configuration.
type configCmd struct {
	Check configCheckCmd `cmd:"" help:"Check the configuration without starting anything."`
	Print configPrintCmd `cmd:"" help:"Print the settings in force, as YAML, without passwords."`
}

type configCheckCmd struct{}

// Help is the end of the command's --help.
func (configCheckCmd) Help() string {
	return `Reads the file of --config and the POSTBOX_ variables as "serve" would, and
lists everything that is wrong, with its place. The files of certificates that
it names are read too.

Example:

  postbox config check --config postbox.yaml`
}

// Run reports every fault of file and environment.
func (c *configCheckCmd) Run(g *globals) error {
	config, err := loadConfig(g, nil)
	if err != nil {
		return err
	}
	if err := broker.CheckCertificates(config); err != nil {
		return err
	}
	source := "defaults and environment"
	if g.ConfigFile != "" {
		source = g.ConfigFile
	}
	_, err = fmt.Fprintf(g.Stdout, "%s: ok\n", source)
	return err
}

type configPrintCmd struct {
	Reference bool `help:"Print the reference configuration instead: every key with its default and why."`
}

// Help is the end of the command's --help.
func (configPrintCmd) Help() string {
	return `What it prints can be loaded again, but for the password of database.url.

Examples:

  postbox config print --config postbox.yaml
  postbox config print --reference > postbox.yaml`
}

// Run writes YAML to standard output.
func (c *configPrintCmd) Run(g *globals) error {
	if c.Reference {
		_, err := io.WriteString(g.Stdout, configs.Reference())
		return err
	}
	config, err := loadConfig(g, nil)
	if err != nil {
		return err
	}
	return config.Print(g.Stdout)
}

// loadConfig returns the settings in force. flags holds the values of a
// command's own flags by key, and may be nil.
func loadConfig(g *globals, flags map[string]string) (configs.Config, error) {
	return configs.Load(configs.Sources{File: g.ConfigFile, Env: os.Environ(), Flags: flags})
}
