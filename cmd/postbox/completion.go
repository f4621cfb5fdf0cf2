package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// completionTimeout is how long a person waits for names from the server.
const completionTimeout = time.Second

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help is the end of the command's --help.
func (completionCmd) Help() string {
	return `Commands and flags are completed, and where you are logged in the users you write
with and your rooms.

Examples:

  source <(postbox completion bash)                                       # in ~/.bashrc
  source <(postbox completion zsh)                                        # in ~/.zshrc, after compinit
  postbox completion fish > ~/.config/fish/completions/postbox.fish       # once`
}

// The scripts hand the words before the cursor, and the one at it, to the program
// that is being completed. Where it knows nothing the shell offers files.
var completionScripts = map[string]string{
	"bash": `_postbox() {
	local IFS=$'\n'
	COMPREPLY=($("${COMP_WORDS[0]}" __complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _postbox postbox
`,
	"zsh": `#compdef postbox
_postbox() {
	local -a found
	found=("${(@f)$("${words[1]}" __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
	if [[ -n "${found[1]}" ]]; then compadd -a found; else _files; fi
}
compdef _postbox postbox
`,
	"fish": `function __postbox_complete
	set -l words (commandline -opc) (commandline -ct)
	$words[1] __complete -- $words[2..-1] 2>/dev/null
end
complete -c postbox -a '(__postbox_complete)'
`,
}

// Run prints a script.
func (c *completionCmd) Run(g *globals) error {
	return writeText(g.Stdout, completionScripts[c.Shell])
}

type completeCmd struct {
	Words []string `arg:"" optional:"" help:"The words of the command line behind its name, up to the cursor."`
}

// Run prints what the last word may become, one a line. It never fails: a shell
// has no place for errors while somebody types.
func (c *completeCmd) Run(ctx context.Context, g *globals) error {
	var all commands
	parser, err := g.parser(&all)
	if err != nil || len(c.Words) == 0 {
		return err
	}
	p := place(parser.Model.Node, c.Words[:len(c.Words)-1])
	word := c.Words[len(c.Words)-1]
	for _, candidate := range p.candidates(ctx, g, word) {
		if strings.HasPrefix(candidate, word) {
			if err := writeText(g.Stdout, printable(candidate, false)+"\n"); err != nil {
				return err
			}
		}
	}
	return nil
}

// placed is where in the command line somebody is.
type placed struct {
	node  *kong.Node
	flag  *kong.Flag        // whose value is due; nil: none
	given int               // arguments before
	flags map[string]string // and flags, for the server to be asked
}

// place follows words from the top of the command line down.
func place(top *kong.Node, words []string) placed {
	p := placed{node: top, flags: make(map[string]string)}
	for _, word := range words {
		switch {
		case p.flag != nil:
			p.flags[p.flag.Name] = word
			p.flag = nil
		case strings.HasPrefix(word, "-") && word != "-":
			p.open(word)
		default:
			if child := p.child(word); child != nil {
				p.node = child
			} else {
				p.given++
			}
		}
	}
	return p
}

// open takes a flag, whose value may stand in the same word.
func (p *placed) open(word string) {
	name, value, whole := strings.Cut(strings.TrimLeft(word, "-"), "=")
	for _, f := range p.allFlags() {
		if f.Name != name && (f.Short == 0 || string(f.Short) != name) {
			continue
		}
		if whole {
			p.flags[f.Name] = value
		} else if !f.IsBool() && !f.IsCounter() {
			p.flag = f
		}
	}
}

func (p *placed) child(name string) *kong.Node {
	for _, c := range p.node.Children {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// allFlags are those that may stand here: the commands' above too, and those of the
// command that is meant when none is named.
func (p *placed) allFlags() []*kong.Flag {
	var all []*kong.Flag
	for _, group := range p.node.AllFlags(true) {
		all = append(all, group...)
	}
	if p.node.DefaultCmd != nil {
		all = append(all, p.node.DefaultCmd.Flags...)
	}
	return all
}

// candidates are what a word may be, whatever it begins with so far.
func (p *placed) candidates(ctx context.Context, g *globals, word string) []string {
	var all []string
	switch {
	case p.flag != nil:
		return p.values(ctx, g, p.flag.Value)
	case strings.HasPrefix(word, "-"):
		for _, f := range p.allFlags() {
			if !f.Hidden {
				all = append(all, "--"+f.Name)
			}
		}
	default:
		for _, c := range p.node.Children {
			if !c.Hidden {
				all = append(all, c.Name)
			}
		}
		if p.given < len(p.node.Positional) {
			all = append(all, p.values(ctx, g, p.node.Positional[p.given])...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// values are those of a flag or an argument.
func (p *placed) values(ctx context.Context, g *globals, v *kong.Value) []string {
	if v.Enum != "" {
		return slices.DeleteFunc(v.EnumSlice(), func(s string) bool { return s == "" })
	}
	kind := v.Tag.Get("complete")
	if kind == "" {
		return nil
	}
	server, err := serverFlags{URL: p.flags["url"], Profile: p.flags["profile"]}.open(g)
	if err != nil {
		return nil
	}
	defer server.close()
	if k, ok := server.creds.(*keptLogin); ok {
		// A key pressed in passing does not spend the refresh token: a token that is
		// over gives no names until the next command has renewed it.
		server.creds = fixed(k.bearer())
	}
	ctx, cancel := context.WithTimeout(ctx, completionTimeout)
	defer cancel()
	if kind == "rooms" {
		return names(ctx, server, call{"room.list", map[string]any{"limit": maxPage}, true}, "room")
	}
	return names(ctx, server, call{"conversations", map[string]any{"limit": maxPage}, true}, "with")
}

// names are the values of one field in the one list of an answer.
func names(ctx context.Context, server *remote, c call, field string) []string {
	var answer map[string]any
	if _, err := server.do(ctx, c, &answer); err != nil {
		return nil
	}
	var all []string
	for _, list := range answer {
		items, _ := list.([]any)
		for _, item := range items {
			object, _ := item.(map[string]any)
			if name, ok := object[field].(string); ok {
				all = append(all, name)
			}
		}
	}
	slices.Sort(all)
	return all
}
