package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
)

// mostMethods bounds an interface: what one consumer needs of another package
// is little, or the seam is in the wrong place.
const mostMethods = 5

// declarationFaults checks the declarations of one Go file that is no test:
// exported names are documented and interfaces small.
func declarationFaults(f file) []string {
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, f.path, f.text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return []string{err.Error()}
	}
	var faults []string
	report := func(node ast.Node, format string, args ...any) {
		faults = append(faults, fmt.Sprintf("%s: %s", set.Position(node.Pos()), fmt.Sprintf(format, args...)))
	}
	for _, declaration := range parsed.Decls {
		switch d := declaration.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && d.Doc == nil && exportedReceiver(d) {
				report(d, "%s has no comment", d.Name.Name)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				if name := undocumented(d, spec); name != "" {
					report(spec, "%s has no comment", name)
				}
			}
		}
	}
	ast.Inspect(parsed, func(node ast.Node) bool {
		if i, is := node.(*ast.InterfaceType); is && i.Methods.NumFields() > mostMethods {
			report(i, "an interface of %d methods, at most %d", i.Methods.NumFields(), mostMethods)
		}
		return true
	})
	return faults
}

// undocumented returns the first exported name of spec without a comment. A
// comment above a group counts for all of it.
func undocumented(group *ast.GenDecl, spec ast.Spec) string {
	switch s := spec.(type) {
	case *ast.TypeSpec:
		if s.Name.IsExported() && group.Doc == nil && s.Doc == nil && s.Comment == nil {
			return s.Name.Name
		}
	case *ast.ValueSpec:
		for _, name := range s.Names {
			if name.IsExported() && group.Doc == nil && s.Doc == nil && s.Comment == nil {
				return name.Name
			}
		}
	}
	return ""
}

// exportedReceiver reports whether a function, or the type of its receiver, can
// be seen from outside. Methods that a standard interface asks for speak for
// themselves.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	switch d.Name.Name {
	case "String", "Error", "Unwrap", "Is", "MarshalJSON", "UnmarshalJSON", "MarshalText", "UnmarshalText",
		"Len", "Less", "Swap", "Read", "Write", "Close":
		return false
	}
	receiver := d.Recv.List[0].Type
	for {
		switch r := receiver.(type) {
		case *ast.StarExpr:
			receiver = r.X
		case *ast.IndexExpr:
			receiver = r.X
		case *ast.IndexListExpr:
			receiver = r.X
		case *ast.Ident:
			return r.IsExported()
		default:
			return true
		}
	}
}
