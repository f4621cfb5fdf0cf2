package proof

import (
	"context"
	"database/sql"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
)

// MariaDB is a running server of another application, with an empty database app.
type MariaDB struct {
	// URL is the database as "postbox import" is told.
	URL string
	*sql.DB
}

// StartMariaDB starts a server in a directory of its own, on 127.0.0.1 alone, and
// waits until it answers. With the test it is ended. It does not care for what is
// on disk when it is killed: it is only read from.
func StartMariaDB(t testing.TB) *MariaDB {
	t.Helper()
	dir, err := os.MkdirTemp("", "postbox-maria-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	as := unprivileged(t, dir)
	run := func(cmd *exec.Cmd) *exec.Cmd {
		endWithUs(cmd)
		if as != nil {
			if cmd.SysProcAttr == nil {
				cmd.SysProcAttr = &syscall.SysProcAttr{}
			}
			cmd.SysProcAttr.Credential = as
		}
		cmd.Dir = dir
		return cmd
	}
	data, socket := filepath.Join(dir, "data"), filepath.Join(dir, "s")
	install := run(exec.Command(tool(t, "mariadb-install-db"), "--no-defaults", "--datadir="+data,
		"--auth-root-authentication-method=normal", "--skip-test-db", "--innodb-log-file-size=8M"))
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("mariadb-install-db: %v\n%s", err, out)
	}
	address := freeAddress(t)
	_, port, _ := net.SplitHostPort(address)
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	server := run(exec.Command(tool(t, "mariadbd"), "--no-defaults", "--datadir="+data, "--socket="+socket, "--port="+port,
		"--bind-address=127.0.0.1", "--pid-file="+filepath.Join(dir, "pid"), "--innodb-buffer-pool-size=64M",
		"--innodb-flush-log-at-trx-commit=0", "--innodb-log-file-size=8M", "--skip-log-bin", "--skip-name-resolve"))
	server.Stdout, server.Stderr = log, log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Wait()
	}()
	t.Cleanup(func() {
		_ = server.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(patience):
			_ = server.Process.Kill()
			<-ended
		}
	})
	m := &MariaDB{URL: "mysql://root@" + address + "/app"}
	m.DB = m.connect(t, address, log.Name(), ended)
	t.Cleanup(func() { m.Close() })
	return m
}

// connect makes the database when the server answers.
func (m *MariaDB) connect(t testing.TB, address, log string, ended <-chan struct{}) *sql.DB {
	t.Helper()
	c := mysql.NewConfig()
	c.User, c.Net, c.Addr, c.Logger = "root", "tcp", address, &mysql.NopLogger{}
	c.Collation = "utf8mb4_general_ci"
	late := time.After(2 * patience)
	for {
		connector, err := mysql.NewConnector(c)
		if err != nil {
			t.Fatal(err)
		}
		db := sql.OpenDB(connector)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		_, err = db.ExecContext(ctx, `CREATE DATABASE app CHARACTER SET utf8mb4`)
		cancel()
		_ = db.Close()
		if err == nil {
			break
		}
		select {
		case <-ended:
			said, _ := os.ReadFile(log)
			t.Fatalf("mariadbd has ended:\n%s", said)
		case <-late:
			t.Fatalf("mariadbd does not answer: %v", err)
		case <-time.After(100 * time.Millisecond):
		}
	}
	c.DBName, c.MultiStatements = "app", true
	connector, err := mysql.NewConnector(c)
	if err != nil {
		t.Fatal(err)
	}
	return sql.OpenDB(connector)
}

// unprivileged gives dir to an account that may run a database server, if we are
// root; nil: we may ourselves.
func unprivileged(t testing.TB, dir string) *syscall.Credential {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.ParseUint(u.Uid, 10, 32)
	gid, _ := strconv.ParseUint(u.Gid, 10, 32)
	if err := os.Chown(dir, int(uid), int(gid)); err != nil {
		t.Fatal(err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// Must runs statements.
func (m *MariaDB) Must(t testing.TB, statements string, args ...any) {
	t.Helper()
	if _, err := m.ExecContext(t.Context(), statements, args...); err != nil {
		t.Fatal(err)
	}
}
