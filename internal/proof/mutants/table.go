package mutants

// All are the mutants that the model test must find.
var All = []Mutant{
	{"resend-rule-off", "a re-send is taken for new", []Edit{
		{"hooks/resend.go", `case p.QoS == 2 && open != nil`, `case false && open != nil`},
		{"hooks/resend.go", `case dup && last != nil`, `case false && last != nil`},
	}},
	{"dup-ignored", "a new message like the last one under its packet id is taken for a re-send", []Edit{
		{"hooks/resend.go", `case dup && last != nil`, `case last != nil`},
	}},
	{"digest-not-compared", "a new message is taken for a re-send of the last one under its packet id", []Edit{
		{"hooks/resend.go", `last.qos == p.QoS && last.digest == p.Digest && s.mayComeAgain(last)`, `last.qos == p.QoS && s.mayComeAgain(last)`},
	}},
	{"open-ids-forgotten", "QoS 2 ids between PUBREC and PUBREL are forgotten when the connection ends", []Edit{
		{"hooks/resend.go", `if s.loaded || !c.session.Present`, `if true || s.loaded || !c.session.Present`},
	}},
	{"drafts-not-awaited", "a device's new connection does not wait for what its last one published", []Edit{
		{"hooks/connect.go", `if err := old.drained(ctx); err != nil {`, `if err := error(nil); err != nil {`},
	}},
	{"acknowledged-early", "PUBACK leaves before COMMIT", []Edit{
		{"inbox/lane.go", `		if err := c.commit(ctx, group); err != nil {
`, `		settle(group, nil)
		for _, d := range group {
			d.Origin = nil
		}
		if err := c.commit(ctx, group); err != nil {
`},
	}},
	{"number-repeated", "a log gives out a number twice", []Edit{
		{"schema/migrations/00001_first.sql", `    CONSTRAINT messages_pkey PRIMARY KEY (conversation_id, seq),
`, ``},
		{"schema/migrations/00001_first.sql", `CONSTRAINT inbox_pkey PRIMARY KEY (user_id, inbox_seq)`, `CONSTRAINT inbox_any CHECK (true)`},
		{"schema/migrations/00016_inbox_runs.sql", `        IF v_there < v_looked THEN
`, `        SELECT array_agg(u.head - CASE u.head % 97 WHEN 96 THEN 1 ELSE 0 END ORDER BY u.ord) INTO heads
          FROM unnest(p_heads) WITH ORDINALITY AS u (head, ord);
        p_heads := heads;
        stamps := p_stamps;
        IF v_there < v_looked THEN
`},
	}},
	{"hole", "a log leaves a number out", []Edit{
		{"schema/migrations/00016_inbox_runs.sql", `        IF v_there < v_looked THEN
`, `        SELECT array_agg(u.head + CASE u.head % 97 WHEN 96 THEN 1 ELSE 0 END ORDER BY u.ord) INTO heads
          FROM unnest(p_heads) WITH ORDINALITY AS u (head, ord);
        p_heads := heads;
        stamps := p_stamps;
        IF v_there < v_looked THEN
`},
	}},
	{"skipped-at-the-seam", "an entry is left out where a device meets the live end of its inbox", []Edit{
		{"inbox/catchup.go", `	reading bool             // a goroutine reads
`, `	reading bool             // a goroutine reads
	seam    bool
`},
		{"inbox/catchup.go", `	if len(a.page) == 0 {
		a.page = nil
	}
	return e
`, `	if len(a.page) == 0 {
		a.page, a.seam = nil, true
	}
	return e
`},
		{"inbox/subscription.go", `	return s.box.at(s.next), false
`, `	if s.ahead.seam && s.box.at(s.next) != nil && s.box.at(s.next+1) != nil {
		s.ahead.seam = false
		s.next++
		s.handed++
	}
	return s.box.at(s.next), false
`},
	}},
	{"cursor-early", "the cursor moves when an entry is sent", []Edit{
		{
			"inbox/subscription.go", `	if s.device.QoS > 0 {
		s.awaits(outstanding{
`, `	if s.device.QoS > 0 {
		s.moveCursor(e.InboxSeq)
		s.awaits(outstanding{
`,
		},
	}},
	{"gap-not-told", "what cannot be had any more is passed over", []Edit{
		{"inbox/gap.go", `told, after := s.outlet.Gap(code, s.handed, next, id), s.next-1`, `told, after := false, s.next-1`},
	}},
	{"window-ignored", "more is sent than the device has room for", []Edit{
		{"inbox/subscription.go", `s.unacked < s.device.Window && `, ``},
	}},
	{"sent-again-without-dup", "what a resumed session may have got is sent without DUP", []Edit{
		{"inbox/subscription.go", `Dup: e.InboxSeq <= s.dupUpTo,`, `Dup: false,`},
	}},
	{"no-local-ignored", "a device gets its own messages, though it asked not to", []Edit{
		{"inbox/subscription.go", `return s.device.NoLocal && e.Own`, `return false && e.Own`},
	}},
	{"never-expired", "an expired message is delivered with its body", []Edit{
		{"message.go", `return !m.ExpiresAt.IsZero() && !now.Before(m.ExpiresAt)`, `return false`},
	}},
	{"keys-ignored", "an idempotency key is not looked for", []Edit{
		{"schema/migrations/00016_inbox_runs.sql", `IF m_key IS NOT NULL THEN`, `IF false THEN`},
		{"schema/migrations/00001_first.sql", `CREATE UNIQUE INDEX messages_idempotency_key`, `CREATE INDEX messages_idempotency_key`},
	}},
	{"conflict-not-noticed", "a key that was used for something else is a duplicate", []Edit{
		{"inbox/commit.go", `case p.Used != nil && p.Used.Digest != p.Digest:`, `case false:`},
	}},
	{"conflict-with-a-conflict", "a key is compared with what was refused under it, not with what is stored", []Edit{
		{"inbox/commit.go", `	used := first.Publish.Used
	switch {
	case used != nil && used.Digest == d.Publish.Digest:
		d.known(*used)
	case used != nil || first`, `	switch {
	case first`},
	}},
	{"opened-for-another", "a refused QoS 2 publish is known as the message that refused it", []Edit{
		{"inbox/commit.go", ` && !d.contradicts()
`, `
`},
	}},
}
