package web

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"postbox"
	"postbox/api"
)

// Exporter writes all that is kept of a user: an api.Exporter.
type Exporter interface {
	Export(ctx context.Context, user postbox.UserID, w io.Writer, progress func(api.Progress)) error
}

// exportPatience is how long a peer may take nothing of an export.
const exportPatience = time.Minute

// export is everything of the caller as JSON Lines. One that could not be ended
// is cut: its last line is not the end.
func (a *API) export(w http.ResponseWriter, r *http.Request) {
	who, err := a.authenticate(r)
	if err != nil {
		a.refuseFault(w, r, err)
		return
	}
	if !a.takesMore(w, r, who) {
		return
	}
	if r.URL.RawQuery != "" {
		refuse(w, r, postbox.Errorf(postbox.CodeInvalid, "export takes no parameters: it is everything"))
		return
	}
	ctx, release, err := a.hold(r.Context(), r, who, a.authenticate)
	if err != nil {
		a.refuseFault(w, r, err)
		return
	}
	defer release()
	out := &patientWriter{w: w, control: http.NewResponseController(w), begin: func() {
		h := w.Header()
		h.Set("Content-Type", "application/jsonl")
		h.Set("Content-Disposition", fmt.Sprintf(`attachment; filename="postbox-%s.jsonl"`, who.Name))
		w.WriteHeader(http.StatusOK)
	}}
	err = a.o.Exporter.Export(ctx, who.ID, out, func(api.Progress) { _ = out.control.Flush() })
	switch {
	case err == nil:
	case out.begin != nil:
		a.refuseFault(w, r, err)
	default:
		if ctx.Err() == nil {
			a.o.Logger.Error("an export was cut", "error", err, "user", who.Name, "request_id", requestID(r))
		}
		panic(http.ErrAbortHandler) // the peer must see that it is not whole
	}
}

// patientWriter begins the answer with the first write, and gives each the same
// time.
type patientWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	begin   func() // nil: it has begun
}

// Write implements io.Writer.
func (p *patientWriter) Write(b []byte) (int, error) {
	if p.begin != nil {
		p.begin()
		p.begin = nil
	}
	_ = p.control.SetWriteDeadline(time.Now().Add(exportPatience))
	return p.w.Write(b)
}

func exportPath() schema {
	responses := schema{
		"200": schema{
			"description": "A JSON object a line, each with a type: export, account, block, device, conversation and after it each message, and at last end. Without the end it is not whole.",
			"headers":     schema{headerRequestID: schema{"$ref": "#/components/headers/" + headerRequestID}},
			"content":     schema{"application/jsonl": schema{"schema": schema{"type": "string"}}},
		},
	}
	for _, code := range api.CommonCodes {
		if code != postbox.CodeTooLarge {
			responses[strconv.Itoa(statuses[code])] = schema{"$ref": "#/components/responses/" + string(code)}
		}
	}
	return schema{"get": schema{
		"operationId": "export", "summary": "Download everything of the caller", "responses": responses,
		"description": "Profile, blocks, devices, and all messages that the caller may read, as they are now.",
	}}
}
