// Runs MQTT.js clients for the proofs: one JSON object per line on stdin says
// what to do, one per line on stdout says what happened. The library is used
// as it comes, at its default settings but for client id, session and
// reconnect delay, and that it tries again after a CONNACK that says "not now",
// which it does not by itself. The same lines drive the Go clients of ../driver.
import mqtt from 'mqtt'
import { createInterface } from 'node:readline'

const clients = new Map()

function tell(event) {
  process.stdout.write(JSON.stringify(event) + '\n')
}

function connect(c) {
  const options = {
    protocolVersion: c.version,
    clientId: c.id,
    username: c.user,
    password: c.password,
    clean: c.clean,
    reconnectPeriod: c.reconnect_ms,
    reconnectOnConnackError: true,
  }
  if (c.version === 5 && c.expiry > 0) options.properties = { sessionExpiryInterval: c.expiry }
  const client = mqtt.connect(c.url, options)
  clients.set(c.client, client)
  const of = (event) => ({ ...event, client: c.client })
  client.on('connect', (ack) => {
    tell(of({ event: 'up', session: ack.sessionPresent }))
    if (!c.subscribe?.length) return
    const topics = Object.fromEntries(c.subscribe.map((s) => [s.topic, { qos: s.qos }]))
    client.subscribe(topics, (err, granted, packet) => {
      tell(of({ event: 'subscribed', codes: [...(packet?.granted ?? [])], error: err?.message ?? '' }))
    })
  })
  client.on('message', (topic, payload, packet) => {
    const p = packet.properties ?? {}
    tell(of({
      event: 'message', topic, qos: packet.qos, dup: packet.dup, retain: packet.retain,
      body: payload.toString('base64'), user: lists(p.userProperties),
      content_type: p.contentType ?? '', utf8: p.payloadFormatIndicator === true,
      correlation: p.correlationData?.toString() ?? '',
    }))
  })
  client.on('close', () => tell(of({ event: 'down' })))
  client.on('error', (err) => tell(of({ event: 'error', code: err.code ?? 0, error: err.message })))
  client.on('disconnect', (packet) => tell(of({ event: 'disconnected', code: packet.reasonCode ?? 0 })))
}

// lists gives every user property as a list, as the Go clients do.
function lists(properties) {
  return Object.fromEntries(Object.entries(properties ?? {}).map(([k, v]) => [k, [v].flat()]))
}

function publish(c) {
  const client = clients.get(c.client)
  const options = { qos: c.qos }
  if (client.options.protocolVersion === 5) {
    options.properties = {}
    if (c.content_type) options.properties.contentType = c.content_type
    if (c.properties) options.properties.userProperties = c.properties
    if (c.response_topic) options.properties.responseTopic = c.response_topic
    if (c.correlation) options.properties.correlationData = Buffer.from(c.correlation)
  }
  client.publish(c.topic, Buffer.from(c.body, 'base64'), options, (err, packet) => {
    tell({
      event: 'answered', client: c.client, n: c.n, error: err?.message ?? '',
      code: err?.code ?? packet?.reasonCode ?? 0, user: lists(packet?.properties?.userProperties),
    })
  })
}

const commands = {
  connect,
  publish,
  disconnect: (c) => clients.get(c.client).end(false, () => tell({ event: 'ended', client: c.client })),
}

const input = createInterface({ input: process.stdin })
input.on('line', (line) => {
  const c = JSON.parse(line)
  commands[c.op](c)
})
input.on('close', () => process.exit(0))
