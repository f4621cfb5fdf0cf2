package configs

import "strings"

// nearest returns the name that was probably meant by a wrong one: the first
// with the same last part ("body_size" for "limits.body_size"), else the one
// with the fewest changed letters.
func nearest(wrong string, names []string) string {
	last := wrong[strings.LastIndex(wrong, ".")+1:]
	best, fewest := "", -1
	for _, name := range names {
		if strings.HasSuffix(name, "."+last) {
			return name
		}
		if d := distance(strings.ToLower(wrong), strings.ToLower(name)); fewest < 0 || d < fewest {
			best, fewest = name, d
		}
	}
	return best
}

// distance counts the letters to insert, delete or replace to make b of a
// (Levenshtein, 1965), keeping one row of the table.
func distance(a, b string) int {
	from, to := []rune(a), []rune(b)
	row := make([]int, len(to)+1)
	for j := range row {
		row[j] = j
	}
	for i := range from {
		diagonal := row[0]
		row[0] = i + 1
		for j := range to {
			replace := diagonal
			if from[i] != to[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(to)]
}
