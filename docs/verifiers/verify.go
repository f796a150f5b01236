// Verifies a webhook of buildfleet, with nothing but the standard library.
//
// Verify returns the id of the event, which stays the same over all attempts: remember it, and pass
// over what has been seen. It returns an error for everything that is not to be believed. A key is
// whsec_..., plain text, or whpk_....
//
// By hand: go run verify.go KEY ID TIMESTAMP SIGNATURE < body
package main

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

const tolerance = 300 * time.Second

// Verify takes the body as it came, not JSON read and written.
func Verify(keys []string, headers http.Header, body []byte, now time.Time) (string, error) {
	id, timestamp := headers.Get("webhook-id"), headers.Get("webhook-timestamp")
	seconds, err := strconv.ParseUint(timestamp, 10, 40)
	if id == "" || err != nil {
		return "", errors.New("a header is missing, or webhook-timestamp is no number of seconds")
	}
	if apart := now.Sub(time.Unix(int64(seconds), 0)); apart > tolerance || apart < -tolerance {
		return "", errors.New("webhook-timestamp is too far from now")
	}
	content := append([]byte(id+"."+timestamp+"."), body...)
	for _, token := range strings.Split(headers.Get("webhook-signature"), " ") {
		version, encoded, _ := strings.Cut(token, ",")
		given, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			continue
		}
		for _, key := range keys {
			if fits(key, version, given, content) {
				return id, nil
			}
		}
	}
	return "", errors.New("webhook-signature fits none of the keys")
}

func fits(key, version string, given, content []byte) bool {
	if strings.HasPrefix(key, "whpk_") {
		public, err := base64.StdEncoding.DecodeString(key[5:])
		return version == "v1a" && err == nil && len(public) == ed25519.PublicKeySize &&
			ed25519.Verify(public, content, given)
	}
	raw := []byte(key)
	if strings.HasPrefix(key, "whsec_") {
		decoded, err := base64.StdEncoding.DecodeString(key[6:])
		if err != nil {
			return false
		}
		raw = decoded
	}
	mac := hmac.New(sha256.New, raw)
	mac.Write(content)
	return version == "v1" && hmac.Equal(mac.Sum(nil), given)
}

func main() {
	headers := http.Header{}
	headers.Set("webhook-id", os.Args[2])
	headers.Set("webhook-timestamp", os.Args[3])
	headers.Set("webhook-signature", os.Args[4])
	body, err := io.ReadAll(os.Stdin)
	if err == nil {
		var id string
		if id, err = Verify(os.Args[1:2], headers, body, time.Now()); err == nil {
			fmt.Println(id)
			return
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
