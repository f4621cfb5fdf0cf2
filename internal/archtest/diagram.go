package archtest

// module is the path that our own imports begin with; the package in the root
// has this path itself.
const module = "postbox"

// room is a package, with those below its folder that are not rooms themselves.
type room struct {
	// floor: imports of our own packages lead to lower floors only. So two
	// rooms of one floor do not see each other.
	floor int
	// proof rooms exist for tests alone: nothing in the product imports them,
	// they may import everything below their floor, and past every fence.
	proof bool
}

// building is the diagram.
//
//	4  cmd       the only place that knows every concrete type
//	3  broker    one server out of the parts
//	2  hooks, web                                  the edges
//	   internal/importer                           a way in for another application
//	1  inbox, api, auth, store, schema, client, configs
//	0  the module's root: the vocabulary
var building = map[string]room{
	"postbox": {floor: 0},

	"postbox/api":     {floor: 1},
	"postbox/auth":    {floor: 1},
	"postbox/client":  {floor: 1},
	"postbox/configs": {floor: 1},
	"postbox/inbox":   {floor: 1},
	"postbox/schema":  {floor: 1},
	"postbox/store":   {floor: 1},

	"postbox/hooks": {floor: 2},
	"postbox/web":   {floor: 2},

	"postbox/broker": {floor: 3},

	"postbox/cmd": {floor: 4},

	"postbox/examples": {floor: 4}, // modules of their own, as somebody else's would be

	"postbox/internal/bench":           {floor: 1},
	"postbox/internal/bench/baremochi": {floor: 4},
	"postbox/internal/embedpg":         {floor: 1},
	"postbox/internal/importer":        {floor: 2},

	"postbox/internal/apitest":  {floor: 4, proof: true},
	"postbox/internal/archtest": {floor: 4, proof: true},
	"postbox/internal/mqtttest": {floor: 4, proof: true},
	"postbox/internal/pgtest":   {floor: 4, proof: true},
	"postbox/internal/proof":    {floor: 4, proof: true},
	"postbox/internal/tlstest":  {floor: 4, proof: true},
}

// fence says which rooms may import a package from outside. Tests may import
// what they like.
type fence struct {
	outside string // the path, or one that it begins with
	why     string
	rooms   []string
}

var fences = []fence{
	{"database/sql", "SQL stays in few places", sqlRooms},
	{"github.com/jmoiron/sqlx", "SQL stays in few places", sqlRooms},
	{"github.com/lib/pq", "SQL stays in few places", sqlRooms},
	{"github.com/pressly/goose", "migrations are the business of schema", []string{"postbox/schema"}},
	{"go.opentelemetry.io/otel", "traces are made at the edge", []string{"postbox/hooks", "postbox/broker"}},
	{
		"github.com/mochi-mqtt/server", "the broker's insides stay at the edge",
		[]string{"postbox/hooks", "postbox/broker", "postbox/examples", "postbox/internal/bench/baremochi"},
	},
}

var sqlRooms = []string{
	"postbox/store", "postbox/schema", "postbox/cmd", "postbox/internal/embedpg", "postbox/internal/importer",
}
