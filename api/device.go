package api

import (
	"context"

	"postbox"
)

func devicesOperation() *operation {
	return &operation{Operation{
		Name: "devices", Summary: "List the devices that have a session", Reads: true,
		Reply: reply(
			must("devices", arrayOf("the newest connections first", SchemaRef("Device"))),
			must("has_more", flagSchema("there are more, for which the reply had no room")),
		),
	}, (*API).devices}
}

func revokeOperation() *operation {
	return &operation{Operation{
		Name: "device.revoke", Summary: "Disconnect and forget a device",
		Fields: []Field{required(Field{
			Name: "device", Min: 1, Max: postbox.MaxDeviceLength, check: postbox.CheckDevice, Doc: "its name: the MQTT client id",
		})},
		Reply: reply(must("device", stringSchema("the one that is forgotten"))),
		Codes: []postbox.Code{postbox.CodeNotFound},
	}, (*API).revoke}
}

func (a *API) devices(ctx context.Context, c *call) error {
	all, err := a.o.Devices.Devices(ctx, c.caller.ID)
	if err != nil {
		return err
	}
	var list items
	for _, d := range all {
		list.next()
		item := object{buf: append(list.buf, '{')}
		item.device(d)
		list.buf = item.end()
		list.done()
	}
	hi := list.fit(c.room())
	c.out.list("devices", &list, 0, hi)
	c.out.flag("has_more", hi < list.len())
	return nil
}

func (o *object) device(d postbox.DeviceState) {
	o.text("device", d.Name)
	o.number("cursor", max(int64(d.Cursor), 0)) // below zero: it has never subscribed
	o.flag("connected", d.Connected)
	if d.Connected {
		o.moment("connected_at", d.ConnectedAt)
	}
	o.moment("last_seen", d.SeenAt)
}

func (a *API) revoke(ctx context.Context, c *call) error {
	device := c.in.get("device").text
	if err := a.o.Devices.RevokeDevice(ctx, c.caller.ID, device); err != nil {
		return err
	}
	c.out.text("device", device)
	return nil
}
