package configs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// file applies a YAML file. Keys may be nested or dotted: "listen: {mqtt: …}"
// and "listen.mqtt: …" are the same.
func (l *loader) file(path string) {
	content, err := os.ReadFile(path)
	if err != nil {
		l.faults = append(l.faults, fmt.Errorf("read configuration: %w", err))
		return
	}
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	var document, second yaml.Node
	switch err := decoder.Decode(&document); {
	case errors.Is(err, io.EOF):
		return // empty, or comments only
	case err != nil:
		l.syntax(path, err)
		return
	}
	switch err := decoder.Decode(&second); {
	case err == nil:
		l.fault(at(path, &second), "a second YAML document: settings belong into the first")
		return
	case !errors.Is(err, io.EOF):
		l.syntax(path, err)
		return
	}
	if len(document.Content) == 0 {
		return
	}
	root := document.Content[0]
	if root.Kind != yaml.MappingNode {
		if root.ShortTag() != "!!null" {
			l.fault(at(path, root), "the file must be a list of keys with values, such as \"registration: open\"")
		}
		return
	}
	f := fileLoader{loader: l, path: path, lines: map[string]int{}}
	f.mapping("", root)
}

// yamlLine is how the parser begins its messages.
var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

func (l *loader) syntax(path string, err error) {
	place, message := path, err.Error()
	if found := yamlLine.FindStringSubmatch(message); found != nil {
		message = message[len(found[0]):]
		if found[1] != "" {
			place += ":" + found[1]
		}
	}
	l.fault(place, "is not valid YAML: %s", message)
}

func at(path string, node *yaml.Node) string { return fmt.Sprintf("%s:%d", path, node.Line) }

// fileLoader walks one file.
type fileLoader struct {
	*loader
	path  string
	lines map[string]int // where a key was seen
}

// mapping applies the keys below prefix. It descends only into groups that
// exist, so neither depth nor aliases can run away with it.
func (f *fileLoader) mapping(prefix string, node *yaml.Node) {
	for i := 0; i+1 < len(node.Content); i += 2 {
		name, content := node.Content[i], node.Content[i+1]
		if content.Kind == yaml.AliasNode {
			content = content.Alias
		}
		key, place := prefix+name.Value, at(f.path, name)
		s, known := f.settings[key]
		group := f.group(key)
		switch first, seen := f.lines[key]; {
		case !known && len(group) == 0:
			f.fault(place, "unknown key %q (did you mean %q?)", key, nearest(key, f.keysAndGroups()))
		case seen:
			f.fault(place, "%s: is given twice, first on line %d", key, first)
		case known:
			f.lines[key] = name.Line
			f.origin[key] = place
			if err := assign(s.value, content); err != nil {
				f.fault(place, "%s: %w", key, err)
			}
		case content.Kind == yaml.MappingNode:
			f.lines[key] = name.Line
			f.mapping(key+".", content)
		default:
			f.fault(place, "%s: is a group of settings: %s", key, strings.Join(group, ", "))
		}
	}
}

// group lists the settings below key, if it is a group.
func (f *fileLoader) group(key string) []string {
	var keys []string
	for _, k := range f.keys {
		if strings.HasPrefix(k, key+".") {
			keys = append(keys, k)
		}
	}
	return keys
}

func (f *fileLoader) keysAndGroups() []string {
	var names []string
	for _, key := range f.keys {
		if group, _, nested := strings.Cut(key, "."); nested {
			names = append(names, group)
		}
		names = append(names, key)
	}
	return names
}

// assign sets v from one YAML node.
func assign(v value, node *yaml.Node) error {
	items, isList := v.(list)
	switch {
	case node.ShortTag() == "!!null":
		return errors.New("has no value: leave the key out for the default")
	case isList && node.Kind == yaml.SequenceNode:
		var texts []string
		for _, item := range node.Content {
			if item.Kind != yaml.ScalarNode {
				return fmt.Errorf("line %d: an item must be one value", item.Line)
			}
			texts = append(texts, item.Value)
		}
		return items.setAll(texts)
	case isList:
		return errors.New(`must be a list, such as ["https://chat.example.org"]`)
	case node.Kind != yaml.ScalarNode:
		return errors.New("must be one value, not a list or a group")
	}
	return v.set(node.Value)
}
