package web

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"
)

// What the frames of a WebSocket may cost beside what they carry. Pings, empty
// frames and fragments are no packets, so that no other limit sees them; before
// CONNECT they would be the only thing that a stranger may send without an end.
const (
	frameBurst   = 16 << 10 // bytes at once
	framePace    = 1 << 10  // bytes a second
	framePerByte = 16       // for each byte of MQTT: a frame for it
	framePing    = 128      // bytes more for a ping: its answer is a write

	frameReader = 2 << 10 // bytes of the buffer in which frames are found
	frameWriter = 1 << 10 // bytes of the one in which a frame is put together, if it fits
)

// errFrames ends a WebSocket that sends frames without packets.
var errFrames = errors.New("too many frames that carry nothing")

// frames are the bytes of a WebSocket on their way to those who take the frames
// apart. All is done by the connection's reader.
type frames struct {
	net.Conn
	asked int     // bytes of MQTT that are being read at most
	debt  float64 // bytes that carried nothing
	at    time.Time
}

// Read implements net.Conn.
func (f *frames) Read(p []byte) (int, error) {
	n, err := f.Conn.Read(p)
	now := time.Now()
	f.debt = max(0, f.debt-now.Sub(f.at).Seconds()*framePace) + float64(n)
	f.at = now
	if f.broke() {
		return 0, errFrames
	}
	return n, err
}

// broke reports whether more was read that carries nothing than is allowed.
func (f *frames) broke() bool { return f.debt > float64(frameBurst+f.asked) }

// ping counts a ping, and reports whether it is worth an answer: once there were
// too many, those that were read with them are not, and the next Read fails.
func (f *frames) ping(context.Context, []byte) bool {
	f.debt += framePing
	return !f.broke()
}

// begin is called before MQTT is read into p, and carried when n bytes of it were,
// in favour of their frames.
func (f *frames) begin(p []byte) { f.asked = len(p) }

func (f *frames) carried(n int) {
	f.asked = 0
	f.debt = max(0, f.debt-float64(n*(1+framePerByte)))
}

// framed hands out the connection of a request through frames.
type framed struct {
	http.ResponseWriter
	frames *frames
}

// Hijack implements http.Hijacker. The buffers are smaller than those of a request:
// there is one of each for as long as the connection is.
func (w framed) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	w.frames.Conn = c
	early, err := rw.Peek(rw.Reader.Buffered()) // what came with the request
	if err != nil {
		return nil, nil, err
	}
	in := bufio.NewReaderSize(io.MultiReader(bytes.NewReader(early), w.frames), max(frameReader, len(early)))
	if _, err := in.Peek(len(early)); err != nil {
		return nil, nil, err
	}
	return w.frames, bufio.NewReadWriter(in, bufio.NewWriterSize(w.frames, frameWriter)), nil
}
