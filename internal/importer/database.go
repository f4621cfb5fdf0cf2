package importer

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/lib/pq"
)

// pageRows is how many rows are asked for at once.
const pageRows = 5000

// database is a connection to the other application's.
type database struct {
	db      *sql.DB
	name    string
	dialect dialect
}

// dialect is in what the two kinds differ.
type dialect struct {
	quote func(string) string
	// holder is the placeholder of the first argument.
	holder string
	// text is the expression for a column's text.
	text func(quoted, kind string) string
	// moment reports whether a column of a kind holds moments.
	moment func(kind string) bool
}

var (
	mysqlDialect = dialect{
		quote:  func(s string) string { return "`" + strings.ReplaceAll(s, "`", "``") + "`" },
		holder: "?",
		text:   func(quoted, _ string) string { return quoted },
		// The server gives a TIMESTAMP in the time zone of the session.
		moment: func(kind string) bool { return kind == "TIMESTAMP" },
	}
	postgresDialect = dialect{
		quote:  pq.QuoteIdentifier,
		holder: "$1",
		text: func(quoted, kind string) string {
			if kind == "BYTEA" {
				return quoted
			}
			return quoted + "::text"
		},
		moment: func(string) bool { return false }, // the text has an offset
	}
)

// isDatabase reports whether a source is the URL of a database and not a file.
func isDatabase(from string) bool { return strings.Contains(from, "://") }

// openDatabase connects to mysql://…, mariadb://…, postgres://… or postgresql://….
// Its errors do not show a password.
func openDatabase(ctx context.Context, from string) (*database, error) {
	u, err := url.Parse(from)
	if err != nil {
		return nil, fmt.Errorf("--from is not a valid URL: write mysql://user:password@host/database")
	}
	name := strings.TrimPrefix(u.Path, "/")
	var d *database
	switch u.Scheme {
	case "mysql", "mariadb":
		connector, err := mysqlConnector(u, name)
		if err != nil {
			return nil, err
		}
		d = &database{sql.OpenDB(connector), name, mysqlDialect}
	case "postgres", "postgresql":
		q := u.Query()
		q.Set("timezone", "UTC")
		q.Set("client_encoding", "UTF8")
		q.Set("default_transaction_read_only", "on")
		u.RawQuery = q.Encode()
		connector, err := pq.NewConnector(u.String())
		if err != nil {
			return nil, fmt.Errorf("--from: %w", err)
		}
		d = &database{sql.OpenDB(connector), name, postgresDialect}
	default:
		return nil, fmt.Errorf("--from %s://: there is mysql://, mariadb://, postgres://, or the name of a CSV file", u.Scheme)
	}
	d.db.SetMaxOpenConns(1)
	ping, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := d.db.PingContext(ping); err != nil {
		_ = d.db.Close()
		return nil, fmt.Errorf("connect to the database of --from: %w", err)
	}
	return d, nil
}

// mysqlConnector reads mysql://user:password@host:port/database; a query parameter
// socket is the path of a socket, tls as in the driver: true, skip-verify, preferred.
func mysqlConnector(u *url.URL, name string) (driver.Connector, error) {
	c := mysql.NewConfig()
	c.User, c.DBName = u.User.Username(), name
	c.Passwd, _ = u.User.Password()
	c.Net, c.Addr = "tcp", net.JoinHostPort(u.Hostname(), "3306")
	if u.Port() != "" {
		c.Addr = u.Host
	}
	for key, values := range u.Query() {
		switch key {
		case "socket":
			c.Net, c.Addr = "unix", values[0]
		case "tls":
			c.TLSConfig = values[0]
		default:
			return nil, fmt.Errorf("--from: %s in the URL is not known: there is socket and tls", key)
		}
	}
	if name == "" {
		return nil, fmt.Errorf("--from names no database: write mysql://user:password@host/database")
	}
	c.Timeout = 30 * time.Second
	c.InterpolateParams = true // one round trip for a page
	c.Params = map[string]string{"time_zone": "'+00:00'"}
	c.Collation = "utf8mb4_general_ci"
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, fmt.Errorf("--from: %w", err)
	}
	return connector, nil
}

func (d *database) close() error { return d.db.Close() }

// dbTable is a table or view.
type dbTable struct {
	d      *database
	name   string
	quoted string
	kinds  []*sql.ColumnType
}

// table looks at a table; "schema.table" is one of another schema.
func (d *database) table(ctx context.Context, name string) (*dbTable, error) {
	parts := strings.Split(name, ".")
	for i := range parts {
		parts[i] = d.dialect.quote(parts[i])
	}
	t := &dbTable{d: d, name: name, quoted: strings.Join(parts, ".")}
	rows, err := d.db.QueryContext(ctx, `SELECT * FROM `+t.quoted+` LIMIT 0`)
	if err != nil {
		return nil, fmt.Errorf("look at table %s: %w", name, err)
	}
	defer rows.Close()
	if t.kinds, err = rows.ColumnTypes(); err != nil {
		return nil, fmt.Errorf("look at table %s: %w", name, err)
	}
	return t, nil
}

func (t *dbTable) label() string { return t.d.name + "." + t.name }

func (t *dbTable) columns() []column {
	all := make([]column, len(t.kinds))
	for i, k := range t.kinds {
		all[i] = column{k.Name(), t.d.dialect.moment(k.DatabaseTypeName())}
	}
	return all
}

func (t *dbTable) count(ctx context.Context) (n int64, err error) {
	if err = t.d.db.QueryRowContext(ctx, `SELECT count(*) FROM `+t.quoted).Scan(&n); err != nil {
		return 0, fmt.Errorf("count the rows of %s: %w", t.name, err)
	}
	return n, nil
}

func (t *dbTable) kind(name string) string {
	for _, k := range t.kinds {
		if k.Name() == name {
			return k.DatabaseTypeName()
		}
	}
	return ""
}

// read reads pages in the order of the key, or without one all at once, as it comes.
func (t *dbTable) read(ctx context.Context, columns []string, key int, each func([]sql.NullString) error) error {
	texts := make([]string, len(columns))
	for i, name := range columns {
		texts[i] = t.d.dialect.text(t.d.dialect.quote(name), t.kind(name))
	}
	query := `SELECT ` + strings.Join(texts, ", ") + ` FROM ` + t.quoted
	if key < 0 {
		_, err := t.rows(ctx, query, len(columns), func(row []sql.NullString, _ int) error { return each(row) })
		return err
	}
	order := t.d.dialect.quote(columns[key])
	var last any
	var previous string
	for {
		page, args, before := query, []any(nil), last
		if last != nil {
			page += ` WHERE ` + order + ` > ` + t.d.dialect.holder
			args = append(args, last)
		}
		// One more than a page, to see that the key is one.
		page += ` ORDER BY ` + order + ` LIMIT ` + strconv.Itoa(pageRows+1)
		n, err := t.rows(ctx, page, len(columns), func(row []sql.NullString, i int) error {
			if i > 0 && row[key].Valid && row[key].String == previous {
				return fmt.Errorf("the column %s of %s is no key, since %q is there twice: name another as id, or none (id=)", columns[key], t.name, previous)
			}
			if i == pageRows {
				return nil // the next page has it
			}
			previous = row[key].String
			if row[key].Valid {
				last = t.keyOf(columns[key], previous)
			}
			return each(row)
		}, args...)
		if err != nil || n <= pageRows {
			return err
		}
		if last == before {
			return fmt.Errorf("the column %s of %s is no key, since it is often NULL: name another as id, or none (id=)", columns[key], t.name)
		}
	}
}

// keyOf is a key as the database compares it: numbers as numbers.
func (t *dbTable) keyOf(name, text string) any {
	if strings.Contains(t.kind(name), "INT") {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n
		}
		if n, err := strconv.ParseUint(text, 10, 64); err == nil {
			return n
		}
	}
	return text
}

// rows calls each for the rows of a query and counts them.
func (t *dbTable) rows(ctx context.Context, query string, columns int, each func(row []sql.NullString, i int) error, args ...any) (int, error) {
	rows, err := t.d.db.QueryContext(ctx, query, args...)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", t.name, err)
	}
	defer rows.Close()
	row, targets := make([]sql.NullString, columns), make([]any, columns)
	for i := range row {
		targets[i] = &row[i]
	}
	n := 0
	for ; rows.Next(); n++ {
		if err := rows.Scan(targets...); err != nil {
			return n, fmt.Errorf("read %s: %w", t.name, err)
		}
		if err := each(row, n); err != nil {
			return n, err
		}
	}
	if err := rows.Err(); err != nil {
		return n, fmt.Errorf("read %s: %w", t.name, err)
	}
	return n, nil
}
