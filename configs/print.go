package configs

import (
	_ "embed"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

//go:embed postbox.yaml
var reference string

// Reference returns the reference configuration: a YAML file that documents
// every key and sets each to its default.
func Reference() string { return reference }

// Print writes the settings as YAML that [Load] reads back. Passwords in
// database.url and the value of trace.header are replaced.
func (c Config) Print(w io.Writer) error {
	root := &yaml.Node{Kind: yaml.MappingNode}
	groups := map[string]*yaml.Node{}
	for _, s := range c.settings() {
		parent, name := root, s.key
		if group, rest, nested := strings.Cut(s.key, "."); nested {
			if groups[group] == nil {
				groups[group] = &yaml.Node{Kind: yaml.MappingNode}
				root.Content = append(root.Content, word(group), groups[group])
			}
			parent, name = groups[group], rest
		}
		parent.Content = append(parent.Content, word(name), s.node())
	}
	encoder := yaml.NewEncoder(w)
	encoder.SetIndent(2)
	if err := encoder.Encode(root); err != nil {
		return fmt.Errorf("print configuration: %w", err)
	}
	return encoder.Close()
}

func (s setting) node() *yaml.Node {
	if l, isList := s.value.(list); isList {
		node := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for _, item := range *l.field {
			node.Content = append(node.Content, word(item))
		}
		return node
	}
	if _, isNumber := s.value.(interface{ isNumber() }); isNumber {
		tag, text := "!!int", s.value.String()
		if strings.Contains(text, ".") {
			tag = "!!float"
		}
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: text}
	}
	if s.secret != nil {
		return word(s.secret(s.value.String()))
	}
	return word(s.value.String())
}

func word(text string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
}
