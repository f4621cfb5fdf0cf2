package auth

import (
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"postbox"
)

// Purpose is what a token is for. A token of one purpose is refused for
// another.
type Purpose string

// The purposes of docs/spec.md §7.
const (
	PurposeAccess Purpose = "access" // MQTT password and HTTP Bearer
	PurposeStream Purpose = "stream" // GET /v1/stream?token= alone
)

// Claims is what a verified token says.
type Claims struct {
	User    postbox.User
	Issued  time.Time // to the microsecond, by the database's clock
	Expires time.Time
	ID      string // the token's own, unique
	// Login is the login it belongs to, with which it ends; zero: to none.
	Login postbox.LoginID
	// Foreign is true for a token of another issuer.
	Foreign bool
}

// wireClaims is the token's payload (RFC 7519 §4.1).
type wireClaims struct {
	Issuer   string           `json:"iss"`
	Audience jwt.ClaimStrings `json:"aud"`
	Subject  string           `json:"sub"`
	ID       string           `json:"jti"`
	Login    postbox.LoginID  `json:"sid,omitempty,string"`
	Purpose  Purpose          `json:"purpose"`
	Issued   instant          `json:"iat"`
	Expires  instant          `json:"exp"`
}

func (c *wireClaims) GetIssuer() (string, error)              { return c.Issuer, nil }
func (c *wireClaims) GetAudience() (jwt.ClaimStrings, error)  { return c.Audience, nil }
func (c *wireClaims) GetSubject() (string, error)             { return c.Subject, nil }
func (c *wireClaims) GetNotBefore() (*jwt.NumericDate, error) { return nil, nil }
func (c *wireClaims) GetIssuedAt() (*jwt.NumericDate, error)  { return c.Issued.numericDate(), nil }
func (c *wireClaims) GetExpirationTime() (*jwt.NumericDate, error) {
	return c.Expires.numericDate(), nil
}

// instant is a NumericDate with microseconds, in Unix microseconds. The
// library's own has whole seconds only, and a token issued in the second of a
// password change could not be told from one issued before it.
type instant int64

func instantOf(t time.Time) instant { return instant(t.UnixMicro()) }

func (i instant) time() time.Time { return time.UnixMicro(int64(i)).UTC() }

func (i instant) numericDate() *jwt.NumericDate {
	if i == 0 {
		return nil
	}
	return &jwt.NumericDate{Time: i.time()}
}

// MarshalJSON writes seconds with six decimals.
func (i instant) MarshalJSON() ([]byte, error) {
	s := strconv.AppendInt(nil, int64(i)/1e6, 10)
	s = append(s, '.')
	micros := strconv.Itoa(int(int64(i)%1e6) + 1e6)
	return append(s, micros[1:]...), nil
}

// UnmarshalJSON reads seconds as MarshalJSON writes them.
func (i *instant) UnmarshalJSON(b []byte) error {
	var n json.Number
	if err := json.Unmarshal(b, &n); err != nil {
		return err
	}
	seconds, err := n.Float64()
	if err != nil || seconds < 0 || seconds > 253402300799 { // year 9999
		return errors.New("not a time between 1970 and 9999")
	}
	// A float64 of our century is exact to a quarter of a microsecond.
	*i = instant(seconds*1e6 + 0.5)
	return nil
}
