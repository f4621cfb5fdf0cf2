package proof

import (
	"fmt"
	"strings"
)

// AddUsers makes n users, <prefix>1 to <prefix>n, in one go. They have the
// password of an existing one.
func (s *Server) AddUsers(prefix string, n int, password string) []string {
	s.t.Helper()
	db := s.DB()
	defer db.Close()
	const add = `
		WITH added AS (
			INSERT INTO postbox.users (name, display_name, password_hash)
			SELECT $1 || i, $1 || i, u.password_hash FROM postbox.users u, generate_series(1, $2::int) AS i WHERE u.name = $3
			RETURNING id)
		INSERT INTO postbox.logs (id) SELECT id FROM added`
	if _, err := db.Exec(add, prefix, n, password); err != nil {
		s.t.Fatalf("add %d users: %v", n, err)
	}
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("%s%d", prefix, i+1)
	}
	return names
}

// Token makes an access token for a user through the command line. Unlike a
// password it costs the server nothing to check.
func (s *Server) Token(user string) string {
	s.t.Helper()
	out := s.Command("", "token", user)
	if out.Code != 0 {
		s.t.Fatalf("token %s: exit %d\n%s%s", user, out.Code, out.Stdout, out.Stderr)
	}
	return strings.TrimSpace(out.Stdout)
}
