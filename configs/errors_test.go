package configs

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFileErrors(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ content, want string }{
		"unknown group": {
			"\nlistem:\n  mqtt: 127.0.0.1:1\n",
			`postbox.yaml:2: unknown key "listem" (did you mean "listen"?)`,
		},
		"unknown key in a group": {
			"limits:\n  windows: 4\n",
			`postbox.yaml:2: unknown key "limits.windows" (did you mean "limits.window"?)`,
		},
		"key in the wrong group": {
			"body_size: 1KiB\n",
			`postbox.yaml:1: unknown key "body_size" (did you mean "limits.body_size"?)`,
		},
		"capital letter": {
			"Registration: open\n",
			`postbox.yaml:1: unknown key "Registration" (did you mean "registration"?)`,
		},
		"below a setting": {
			"registration.web: open\n",
			`postbox.yaml:1: unknown key "registration.web" (did you mean "registration"?)`,
		},
		"twice": {
			"registration: open\nlog: {level: info}\nregistration: closed\n",
			`postbox.yaml:3: registration: is given twice, first on line 1`,
		},
		"twice, nested and dotted": {
			"log: {level: info}\nlog.level: warn\n",
			`postbox.yaml:2: log.level: is given twice, first on line 1`,
		},
		"group as value": {
			"log: info\n",
			`postbox.yaml:1: log: is a group of settings: log.level, log.format`,
		},
		"group without value": {
			"log:\n",
			`postbox.yaml:1: log: is a group of settings: log.level, log.format`,
		},
		"mapping for a value": {
			"outage_timeout: {minutes: 5}\n",
			`postbox.yaml:1: outage_timeout: must be one value, not a list or a group`,
		},
		"list for a value": {
			"outage_timeout: [5m]\n",
			`postbox.yaml:1: outage_timeout: must be one value, not a list or a group`,
		},
		"no value": {
			"outage_timeout:\n",
			`postbox.yaml:1: outage_timeout: has no value: leave the key out for the default`,
		},
		"value for a list": {
			"listen.origins: https://a.example\n",
			`postbox.yaml:1: listen.origins: must be a list, such as ["https://chat.example.org"]`,
		},
		"list in a list": {
			"listen:\n  origins:\n  - [x]\n",
			`postbox.yaml:2: listen.origins: line 3: an item must be one value`,
		},
		"not an origin": {
			"listen.origins: [\"https://a.example/chat\"]\n",
			`postbox.yaml:1: listen.origins: "https://a.example/chat" is not an origin: write scheme and host in lower case, without a path, such as https://chat.example.org`,
		},
		"not a number": {
			"limits.window: many\n",
			`postbox.yaml:1: limits.window: "many" is not a whole number`,
		},
		"a fraction": {
			"limits.window: 1.5\n",
			`postbox.yaml:1: limits.window: "1.5" is not a whole number`,
		},
		"number out of range": {
			"limits.inflight: 65536\n",
			`postbox.yaml:1: limits.inflight: 65536 is out of range: from 1 to 65535`,
		},
		"not a size": {
			"limits.body_size: 64kB\n",
			`postbox.yaml:1: limits.body_size: "64kB" is not a size: write a whole number with B, KiB, MiB or GiB, such as 64KiB`,
		},
		"size out of range": {
			"limits.body_size: 1GiB\n",
			`postbox.yaml:1: limits.body_size: 1GiB is out of range: from 1B to 64MiB`,
		},
		"not a duration": {
			"limits.connect_timeout: 10\n",
			`postbox.yaml:1: limits.connect_timeout: "10" is not a duration: write it with a unit, such as 10s, 5m, 12h or 30d`,
		},
		"duration out of range": {
			"limits.keep_alive: 1d\n",
			`postbox.yaml:1: limits.keep_alive: 1d is out of range: from 5s to 12h`,
		},
		"negative duration": {
			"outage_timeout: -5m\n",
			`postbox.yaml:1: outage_timeout: -5m is out of range: from 1s to 1d`,
		},
		"not a choice": {
			"registration: yes\n",
			`postbox.yaml:1: registration: "yes" is not one of closed, invite, open`,
		},
		"not an address": {
			"listen.mqtt: 1883\n",
			`postbox.yaml:1: listen.mqtt: "1883" is not an address: write host:port, such as 127.0.0.1:1883`,
		},
		"not a port": {
			"listen.mqtt: 127.0.0.1:mqtt\n",
			`postbox.yaml:1: listen.mqtt: "127.0.0.1:mqtt" is not an address: the port must be a number from 0 to 65535`,
		},
		"empty directory": {
			"database: {embedded_dir: \"\"}\n",
			`postbox.yaml:1: database.embedded_dir: must not be empty`,
		},
		"another database": {
			"database.url: mysql://u:secret@h/d\n",
			`postbox.yaml:1: database.url: is not a PostgreSQL connection: write postgres://user:password@host:5432/database`,
		},
		"broken database URL": {
			"database.url: postgres://u:se%cret@h/d\n",
			`postbox.yaml:1: database.url: is not a valid URL: check the port, and percent-encode special characters in the password`,
		},
		"not a part": {
			"trace.ratio: 1.5\n",
			`postbox.yaml:1: trace.ratio: 1.5 is out of range: from 0 to 1`,
		},
		"a collector with credentials": {
			"trace.endpoint: https://u:secret@h/v1/traces\n",
			`postbox.yaml:1: trace.endpoint: is not the URL of a collector: write http://host:4318/v1/traces, and credentials into trace.header`,
		},
		"not a header": {
			"trace.header: Bearer secret\n",
			`postbox.yaml:1: trace.header: is not a header: write Name: value, such as Authorization: Bearer …`,
		},
		"several faults": {
			"log.level: loud\nlimits:\n  window: 0\n",
			"postbox.yaml:1: log.level: \"loud\" is not one of debug, info, warn, error\n" +
				`postbox.yaml:3: limits.window: 0 is out of range: from 1 to 30000`,
		},
		"body larger than packet": {
			"limits:\n  body_size: 1MiB\n",
			`postbox.yaml:2: limits.packet_size: 256KiB is too small: limits.body_size 1MiB with limits.ref_size 4KiB, topic and properties need 1030KiB`,
		},
		"connect larger than packet": {
			"limits.connect_size: 512KiB\n",
			`postbox.yaml:1: limits.connect_size: 512KiB is more than limits.packet_size, 256KiB`,
		},
		"refresh shorter than access": {
			"tokens: {access: 2h,\n refresh: 1h}\n",
			`postbox.yaml:2: tokens.refresh: 1h is shorter than tokens.access, 2h`,
		},
		"pool smaller than lanes": {
			"database.lanes: 9\n",
			`postbox.yaml:1: database.pool_size: 10 is too small: database.lanes 9 needs at least 11`,
		},
		"one address twice": {
			"listen.http: 127.0.0.1:1883\n",
			`postbox.yaml:1: listen.http: "127.0.0.1:1883" is the address of listen.mqtt too`,
		},
		"not YAML": {
			"listen:\n  mqtt: a: b\n",
			`postbox.yaml:2: is not valid YAML: mapping values are not allowed in this context`,
		},
		"only a word": {
			"open\n",
			`postbox.yaml:1: the file must be a list of keys with values, such as "registration: open"`,
		},
		"two documents": {
			"registration: open\n---\nregistration: closed\n",
			`postbox.yaml:2: a second YAML document: settings belong into the first`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := write(t, test.content)
			_, err := Load(Sources{File: path})
			if diff := cmp.Diff(test.want, relative(err, path)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestMissingFile(t *testing.T) {
	t.Parallel()
	_, err := Load(Sources{File: "no-such.yaml"})
	want := "read configuration: open no-such.yaml: no such file or directory"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestEnvironmentAndFlagErrors(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		env   []string
		flags map[string]string
		want  string
	}{
		"unknown variable": {
			env:  []string{"POSTBOX_LISTEN_MQT=127.0.0.1:1"},
			want: `environment: unknown variable "POSTBOX_LISTEN_MQT" (did you mean "POSTBOX_LISTEN_MQTT"?)`,
		},
		"mistyped POSTBOX_CONFIG": {
			env:  []string{"POSTBOX_CONFIGS=x.yaml"},
			want: `environment: unknown variable "POSTBOX_CONFIGS" (did you mean "POSTBOX_CONFIG"?)`,
		},
		"wrong value": {
			env:  []string{"POSTBOX_LIMITS_KEEP_ALIVE=long"},
			want: `POSTBOX_LIMITS_KEEP_ALIVE: "long" is not a duration: write it with a unit, such as 10s, 5m, 12h or 30d`,
		},
		"empty value": {
			env:  []string{"POSTBOX_LOG_LEVEL="},
			want: `POSTBOX_LOG_LEVEL: "" is not one of debug, info, warn, error`,
		},
		"wrong item": {
			env:  []string{"POSTBOX_LISTEN_ORIGINS=https://a.example,*"},
			want: `POSTBOX_LISTEN_ORIGINS: "*" is not an origin: write scheme and host in lower case, without a path, such as https://chat.example.org`,
		},
		"clash": {
			env:  []string{"POSTBOX_LIMITS_PACKET_SIZE=4KiB"},
			want: "POSTBOX_LIMITS_PACKET_SIZE: limits.packet_size: 4KiB is too small: limits.body_size 64KiB with limits.ref_size 4KiB, topic and properties need 70KiB\nPOSTBOX_LIMITS_PACKET_SIZE: limits.connect_size: 32KiB is more than limits.packet_size, 4KiB",
		},
		"bytes that are no text": {
			env:   []string{"POSTBOX_LISTEN_MQTT=127.0.0\xbb.1:0", "POSTBOX_DATABASE_URL=postgres://u:secret\xff@h/d"},
			flags: map[string]string{"log.level": "info\xfe"},
			want: "POSTBOX_LISTEN_MQTT: the value is not UTF-8: write it as text in UTF-8\n" +
				"POSTBOX_DATABASE_URL: the value is not UTF-8: write it as text in UTF-8\n" +
				"flag log.level: the value is not UTF-8: write it as text in UTF-8",
		},
		"unknown flag": {
			flags: map[string]string{"listen.mqttt": "x"},
			want:  `flag listen.mqttt: unknown key "listen.mqttt" (did you mean "listen.mqtt"?)`,
		},
		"wrong flag": {
			flags: map[string]string{"listen.mqtt": "x", "log.format": "xml"},
			want: "flag listen.mqtt: \"x\" is not an address: write host:port, such as 127.0.0.1:1883\n" +
				`flag log.format: "xml" is not one of auto, text, json`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Load(Sources{Env: test.env, Flags: test.flags})
			if diff := cmp.Diff(test.want, relative(err, "none/none")); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestErrorsKeepThePassword(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"mysql://u:topsecret@h/d", "postgres://u:topsecret%zz@h/d", "postgres://u:topsecret@h:port/d", "topsecret",
	} {
		_, err := Load(Sources{Env: []string{"POSTBOX_DATABASE_URL=" + url}})
		if err == nil {
			t.Errorf("%s: no error", url)
		} else if strings.Contains(err.Error(), "topsecret") {
			t.Errorf("the password is in the error: %v", err)
		}
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	if err := Default().Validate(); err != nil {
		t.Errorf("the defaults are refused: %v", err)
	}
	c := Default()
	c.Limits.Window = 0
	c.Log.Format = "xml"
	c.Listen.Origins = []string{"a.example"}
	want := `listen.origins: "a.example" is not an origin: write scheme and host in lower case, without a path, such as https://chat.example.org
limits.window: 0 is out of range: from 1 to 30000
log.format: "xml" is not one of auto, text, json`
	if diff := cmp.Diff(want, c.Validate().Error()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	c = Default()
	c.Listen.HTTP = "127.0.0.1:0"
	c.Listen.Private = "127.0.0.1:0"
	c.Database.PoolSize = 3
	c.Database.Lanes = 2
	want = "database.pool_size: 3 is too small: database.lanes 2 needs at least 4"
	if diff := cmp.Diff(want, c.Validate().Error()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
