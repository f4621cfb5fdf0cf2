package web

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"postbox"
	"postbox/api"
	"postbox/auth"
)

const (
	// bodyTimeout is how long a request's body may take to arrive.
	bodyTimeout = 30 * time.Second
	// workTimeout is how long an operation may take, besides what it waits for on
	// purpose.
	workTimeout = 30 * time.Second
	// maxWait is the longest that an operation waits on purpose.
	maxWait = 60 * time.Second
	// writeTimeout is how long an answer may take, with the work before it.
	writeTimeout = bodyTimeout + workTimeout + maxWait + 30*time.Second
)

// operation does one operation of docs/spec.md §7.
func (a *API) operation(w http.ResponseWriter, r *http.Request) {
	op := a.names[strings.TrimPrefix(r.URL.Path, "/v1/")]
	who, err := Identity{}, error(nil)
	if !op.Anonymous {
		who, err = a.authenticate(r)
	}
	if err != nil {
		a.refuseFault(w, r, err)
		return
	}
	if !a.takesMore(w, r, who) {
		return
	}
	request, status, err := a.read(w, r, op)
	if err != nil {
		refuseWith(w, r, status, postbox.AsError(err))
		return
	}
	caller := api.Caller{
		ID: who.ID, Name: who.Name, Admin: who.Admin, Edge: api.EdgeHTTP, RequestID: requestID(r),
		Address: a.o.Proxies.From(r), Shown: api.Shown{Since: who.Since, Ends: who.Ends, Login: who.Login},
	}
	if keys, given := r.Header[headerKey]; given {
		if len(keys) > 1 {
			refuse(w, r, postbox.Errorf(postbox.CodeInvalid, "%s is given twice", headerKey))
			return
		}
		caller.Key = &keys[0]
	}
	ctx, cancel := context.WithTimeout(r.Context(), workTimeout+maxWait)
	defer cancel()
	if op.Waits && bytes.Contains(request, []byte(`"wait"`)) {
		held, release, err := a.hold(ctx, r, who, a.authenticate)
		if err != nil {
			a.refuseFault(w, r, err)
			return
		}
		defer release()
		ctx = held
	}
	reply, refusal := a.o.Operations.Do(ctx, caller, op.Name, request)
	if refusal != nil {
		id, _ := api.Tags(request)
		refuseAs(w, r, statusOf(refusal.Code), refusal, id)
		return
	}
	status = http.StatusOK
	if op.Creates && reply.Created {
		status = http.StatusCreated
	}
	writeJSON(w, status, reply.JSON)
	reply.Release()
}

// takesMore counts a request of a user, or of an address if nobody was let in, and
// answers if it is one too many.
func (a *API) takesMore(w http.ResponseWriter, r *http.Request, who Identity) bool {
	var wait time.Duration
	if who.ID != 0 {
		wait = a.o.Limiter.Take(who.ID, time.Now())
	} else if a.o.Strangers != nil {
		wait = a.o.Strangers.Take(auth.Customer(a.o.Proxies.From(r)), time.Now())
	}
	if wait > 0 {
		setRetryAfter(w.Header(), wait)
		refuse(w, r, postbox.Errorf(postbox.CodeRateLimited, "too many requests: try again in %s", wait.Round(time.Millisecond)))
	}
	return wait <= 0
}

// hold keeps a request open for its user: see held.begin. What the user has shown is
// looked at again.
func (a *API) hold(ctx context.Context, r *http.Request, who Identity, again func(*http.Request) (Identity, error)) (context.Context, func(), error) {
	ctx, release, refusal := a.held.begin(ctx, who)
	if refusal != nil {
		return nil, nil, refusal
	}
	// A kick between the authentication and now has ended nothing yet.
	if _, err := again(r); err != nil {
		release()
		return nil, nil, err
	}
	return ctx, release, nil
}

// read reads the request: of a POST its body, else the address's parameters.
func (a *API) read(w http.ResponseWriter, r *http.Request, op api.Operation) (request []byte, status int, err error) {
	if r.Method != http.MethodPost {
		query, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil {
			return nil, http.StatusBadRequest, postbox.Errorf(postbox.CodeInvalid, "the parameters cannot be read: write name=value&name=value, percent-encoded")
		}
		request, refusal := a.o.Operations.QueryRequest(op.Name, query)
		if refusal != nil {
			return nil, statusOf(refusal.Code), refusal
		}
		return request, 0, nil
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return nil, http.StatusUnsupportedMediaType, postbox.Errorf(postbox.CodeInvalid, "the request must be JSON: say Content-Type: application/json")
	}
	if r.Header.Get("Content-Encoding") != "" {
		return nil, http.StatusUnsupportedMediaType, postbox.Errorf(postbox.CodeInvalid, "the request must not be compressed")
	}
	if r.URL.RawQuery != "" {
		return nil, http.StatusBadRequest, postbox.Errorf(postbox.CodeInvalid, "the fields of a POST go into its body, not into the address")
	}
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(bodyTimeout))
	request, err = io.ReadAll(http.MaxBytesReader(w, r.Body, int64(a.o.MaxRequest)))
	_ = control.SetReadDeadline(time.Time{})
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, http.StatusRequestEntityTooLarge, postbox.Errorf(postbox.CodeTooLarge, "the request has more than %d bytes", a.o.MaxRequest)
	case err != nil:
		return nil, http.StatusBadRequest, postbox.Errorf(postbox.CodeInvalid, "the request's body did not arrive whole")
	}
	return request, 0, nil
}

// refuseFault answers with what a stranger may know of an error; the log gets
// its cause if it is a fault of ours.
func (a *API) refuseFault(w http.ResponseWriter, r *http.Request, err error) {
	refusal := postbox.AsError(err)
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		refusal = postbox.ErrUnavailable
	case refusal.Code == postbox.CodeInternal:
		a.o.Logger.Error("a request failed", "error", err, "path", r.URL.Path, "request_id", requestID(r))
	}
	if refusal.Message == "" {
		refusal = postbox.Errorf(refusal.Code, "%s", sentence(refusal.Code))
	}
	refuse(w, r, refusal)
}

func sentence(code postbox.Code) string {
	if code == postbox.CodeUnavailable {
		return "the database is away: try again"
	}
	return "the request cannot be done: " + string(code)
}
