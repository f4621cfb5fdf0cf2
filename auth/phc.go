package auth

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Bounds on what a stored hash may ask for, so that one bad row of an import
// cannot take the machine's memory or a core for minutes.
const (
	maxMemory     = 1 << 20 // KiB: 1 GiB
	maxPasses     = 64
	maxLanes      = 64
	maxSalt       = 64 // bytes
	minTag        = 16 // bytes
	maxTag        = 64 // bytes
	bcryptLength  = 60
	maxBcryptCost = 16 // some 5 s
)

// CheckHash reports whether a hash that another program has made can be used: see
// Verifier.CheckFrom. Its errors never show the hash.
func CheckHash(s string) error {
	_, err := parseHash(s)
	return err
}

// parseHash parses a stored hash: argon2id or argon2i in PHC string form, or bcrypt
// written $2a$, $2b$ or, as PHP does, $2y$. Its errors never show the hash.
func parseHash(s string) (passwordHash, error) {
	switch {
	case strings.HasPrefix(s, "$argon2id$"), strings.HasPrefix(s, "$argon2i$"):
		kind, rest, _ := strings.Cut(s[1:], "$")
		h, err := parseArgon(rest)
		if err != nil {
			return nil, fmt.Errorf("read stored %s hash: %w", kind, err)
		}
		h.plain = kind == "argon2i"
		return h, nil
	case strings.HasPrefix(s, "$2a$"), strings.HasPrefix(s, "$2b$"), strings.HasPrefix(s, "$2y$"):
		if err := checkBcrypt(s); err != nil {
			return nil, fmt.Errorf("read stored bcrypt hash: %w", err)
		}
		return bcryptHash(s), nil
	}
	return nil, errors.New("read stored hash: it is neither argon2 ($argon2id$v=19$…, $argon2i$v=19$…) nor bcrypt ($2a$, $2b$, $2y$)")
}

// parseArgon parses what follows "$argon2id$": v=19$m=…,t=…,p=…$salt$tag.
func parseArgon(s string) (argonHash, error) {
	parts := strings.Split(s, "$")
	if len(parts) != 4 {
		return argonHash{}, errors.New("it does not have the four parts version, cost, salt and hash")
	}
	if parts[0] != "v=19" {
		return argonHash{}, errors.New("its version is not v=19")
	}
	cost := strings.Split(parts[1], ",")
	if len(cost) != 3 {
		return argonHash{}, errors.New("its cost is not m=…,t=…,p=…")
	}
	lanes, err := costOf(cost[2], "p=", 1, maxLanes)
	if err != nil {
		return argonHash{}, err
	}
	passes, err := costOf(cost[1], "t=", 1, maxPasses)
	if err != nil {
		return argonHash{}, err
	}
	memory, err := costOf(cost[0], "m=", 8*lanes, maxMemory) // 8p: RFC 9106 §3.1
	if err != nil {
		return argonHash{}, err
	}
	salt, err := bytesOf("salt", parts[2], 8, maxSalt)
	if err != nil {
		return argonHash{}, err
	}
	tag, err := bytesOf("hash", parts[3], minTag, maxTag)
	if err != nil {
		return argonHash{}, err
	}
	return argonHash{memory: memory, passes: passes, lanes: uint8(lanes), salt: salt, tag: tag}, nil
}

func costOf(s, name string, low, high uint32) (uint32, error) {
	digits, ok := strings.CutPrefix(s, name)
	n, err := strconv.ParseUint(digits, 10, 32)
	// The comparison of text refuses "+2" and "02", which PHC does not allow.
	if !ok || err != nil || digits != strconv.FormatUint(n, 10) || uint32(n) < low || uint32(n) > high {
		return 0, fmt.Errorf("its cost %s is not a number between %d and %d", name, low, high)
	}
	return uint32(n), nil
}

func bytesOf(name, s string, low, high int) ([]byte, error) {
	// The decoder skips line ends, so their absence is checked here.
	b, err := base64.RawStdEncoding.Strict().DecodeString(s)
	if err != nil || strings.ContainsAny(s, "\r\n") || len(b) < low || len(b) > high {
		return nil, fmt.Errorf("its %s is not base64 without padding of %d to %d bytes", name, low, high)
	}
	return b, nil
}

func checkBcrypt(s string) error {
	if len(s) != bcryptLength || s[6] != '$' {
		return fmt.Errorf("it is not %d characters of the form $2y$10$…", bcryptLength)
	}
	cost, err := strconv.ParseUint(s[4:6], 10, 8)
	if err != nil || cost < 4 || cost > maxBcryptCost {
		return fmt.Errorf("its cost is not between 04 and %d", maxBcryptCost)
	}
	const alphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	if strings.Trim(s[7:], alphabet) != "" {
		return errors.New("it has characters outside bcrypt's alphabet")
	}
	return nil
}
