package outbox

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"time"
)

// A Secret signs callbacks. It prints as xxxxx wherever it is not asked for.
type Secret string

// secretPrefix, and the size of a secret in bytes, as in Standard Webhooks.
const (
	secretPrefix    = "whsec_"
	minKey, maxKey  = 24, 64
	redacted        = "xxxxx"
	wantSecret      = "must be whsec_ and the base64 of 24 to 64 random bytes: echo whsec_$(head -c 32 /dev/urandom | base64)"
	signaturePrefix = "v1,"
)

// ParseSecret checks a secret in the form of Standard Webhooks. Its error does
// not repeat it.
func ParseSecret(s string) (Secret, error) {
	if key := Secret(s).key(); len(key) < minKey || len(key) > maxKey {
		return "", errors.New(wantSecret)
	}
	return Secret(s), nil
}

// key is nil when the secret is none.
func (s Secret) key() []byte {
	text, ok := strings.CutPrefix(string(s), secretPrefix)
	if !ok {
		return nil
	}
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil
	}
	return key
}

// String hides it from logs and messages.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// GoString hides it from %#v.
func (s Secret) GoString() string { return strconv.Quote(s.String()) }

// LogValue hides it from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// sign is the value of Webhook-Signature: one signature for each secret, so that
// a receiver may know either while they are changed.
func sign(secrets []Secret, id string, at time.Time, body []byte) string {
	signatures := make([]string, len(secrets))
	for n, s := range secrets {
		mac := hmac.New(sha256.New, s.key())
		mac.Write([]byte(id + "." + strconv.FormatInt(at.Unix(), 10) + "."))
		mac.Write(body)
		signatures[n] = signaturePrefix + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	return strings.Join(signatures, " ")
}
