// The MQTT connection of this tab, over WebSocket: made again with a new token
// whenever it ends, and resumed behind the last entry that arrived (docs/spec.md §6).
import type { MqttClient } from 'mqtt'
import { unique } from './ids'
import { login, Refused, token } from './login'
import type { Entry } from './model'
import { link } from './state'

export interface Handlers {
  /** One entry of the inbox, in order, none twice. */
  entry(e: Entry): void
  /** An entry without a number: typing, delivered. */
  signal(s: { type: string; from: string; to?: string; room?: string; body?: string; seq?: number }): void
  presence(p: { user: string; online: boolean; last_seen?: string }): void
  /** Subscribed. fresh: there was no place to go on from, so all has to be read. */
  ready(fresh: boolean): void
}

// One name for each load of the page: a copied tab must not take over from the first.
const device = 'page-' + unique().slice(0, 12)

let client: MqttClient | null = null
let handlers: Handlers
let cursor: { epoch: string; n: number } | null = null
let attempts = 0
let retry: ReturnType<typeof setTimeout> | undefined
let generation = 0
/** Gives the connection up, as if it had ended. */
let drop: () => void = () => {}
/** The publishes that are not acknowledged. */
const waiting = new Set<(ack: Ack | null) => void>()
/** The number that the PUBACK of a packet told, until its publish is answered. */
const told = new Map<number, number>()

export function start(h: Handlers): void {
  handlers = h
  cursor = null
  addEventListener('online', hurry)
  addEventListener('offline', lost)
  document.addEventListener('visibilitychange', () => !document.hidden && hurry())
  void connect()
}

/** Whoever comes back to the page does not wait for the next attempt. */
export function hurry(): void {
  if (link.value === 'online' || !login.value || !retry) return
  attempts = 0
  clearTimeout(retry)
  retry = undefined
  void connect()
}

/** The network of this machine is gone: nobody waits until that is noticed by silence. */
function lost(): void {
  drop()
  link.value = 'offline'
}

export function stop(): void {
  generation++
  clearTimeout(retry)
  retry = undefined
  client?.end(true)
  client = null
  link.value = 'connecting'
  for (const done of waiting) done(null)
  waiting.clear()
}

function again(): void {
  if (retry) return
  attempts++
  if (attempts > 1 || !navigator.onLine) link.value = 'offline'
  const wait = Math.min(15_000, 250 * 2 ** attempts) * (0.5 + Math.random() / 2)
  retry = setTimeout(() => {
    retry = undefined
    void connect()
  }, wait)
}

async function connect(): Promise<void> {
  const mine = ++generation
  if (link.value === 'online') link.value = 'connecting'
  let password: string
  let mqtt: typeof import('mqtt')
  try {
    mqtt = await import('mqtt')
    password = await token()
  } catch (e) {
    if (!(e instanceof Refused && e.code === 'unauthenticated') && mine === generation) again()
    return
  }
  if (mine !== generation || !login.value) return
  const user = login.value.user
  const url = new URL('mqtt', document.baseURI)
  url.protocol = url.protocol.replace('http', 'ws')
  const c = mqtt.default.connect(url.href, {
    protocolVersion: 5,
    clientId: device,
    username: user,
    password,
    clean: true,
    reconnectPeriod: 0, // by ourselves, since the password is another then
    connectTimeout: 15_000,
    keepalive: 60,
    resubscribe: false,
    queueQoSZero: false,
    // The usual one makes a worker from a blob, which the Content-Security-Policy forbids.
    timerVariant: 'native',
    properties: { receiveMaximum: 200 },
  })
  client = c
  told.clear()
  let over = false
  const ended = () => {
    if (over) return
    over = true
    c.end(true)
    if (client === c) client = null
    for (const done of waiting) done(null)
    waiting.clear()
    if (mine !== generation) return
    if (link.value === 'online') link.value = 'connecting'
    attempts = Math.min(attempts, 8)
    again()
  }
  drop = ended
  c.on('close', ended)
  c.on('disconnect', (p) => {
    // The login has ended: the refresh token tells whether that is so, without delay.
    if (p.reasonCode === 152 && mine === generation) void token(password, true).catch(() => {})
  })
  c.on('packetreceive', (p) => {
    // MQTT.js gives the properties of a PUBACK to nobody unless it refuses.
    if (p.cmd !== 'puback' || p.messageId === undefined || !p.properties) return
    const seq = Number(p.properties.userProperties?.['seq'])
    if (seq > 0) told.set(p.messageId, seq)
  })
  c.on('error', (e) => {
    // The token is not taken any more, or the account disabled: a new one, or none, decides.
    const { code } = e as { code?: unknown }
    if (code === 134 || code === 138) void token(password).catch(() => {})
    ended()
  })
  c.on('message', (topic, payload) => {
    if (mine === generation) receive(topic, payload.toString(), user)
  })
  c.on('connect', () => void subscribe(c, user, mine, ended))
}

async function subscribe(c: MqttClient, user: string, mine: number, ended: () => void): Promise<void> {
  const since = cursor
  try {
    const inbox = c.subscribeAsync('inbox/' + user, {
      qos: 1,
      ...(since ? { properties: { userProperties: { since: `${since.epoch}:${since.n}` } } } : {}),
    })
    await Promise.all([inbox, c.subscribeAsync(['signal/' + user, 'presence/+'], { qos: 0 })])
  } catch {
    ended()
    return
  }
  if (mine !== generation) return
  attempts = 0
  link.value = 'online'
  handlers.ready(!since)
}

function receive(topic: string, text: string, user: string): void {
  let e
  try {
    e = JSON.parse(text)
  } catch {
    return // not of this server
  }
  if (topic.startsWith('presence/')) handlers.presence(e)
  else if (topic === 'signal/' + user) handlers.signal(e)
  else if (topic === 'inbox/' + user) inbox(e)
}

function inbox(e: Entry & { next?: number }): void {
  if (e.type === 'gap') {
    cursor = e.next ? { epoch: e.epoch, n: e.next - 1 } : null
    handlers.entry(e)
    return
  }
  if (e.type === 'error') {
    handlers.entry(e)
    return
  }
  if (cursor && cursor.epoch === e.epoch && e.inbox_seq <= cursor.n) return // at least once, so maybe twice
  const strange = cursor !== null && cursor.epoch !== e.epoch
  cursor = { epoch: e.epoch, n: e.inbox_seq }
  if (strange) handlers.entry({ ...e, type: 'gap' })
  handlers.entry(e)
}

/** Publishes with QoS 1. The answer is what the server's PUBACK says; null: the connection ended before. */
export function publish(topic: string, body: string, ref?: string): Promise<Ack | null> {
  const c = client
  if (!c || link.value !== 'online') return Promise.resolve(null)
  return new Promise((answer) => {
    const done = (ack: Ack | null) => {
      waiting.delete(done)
      answer(ack)
    }
    waiting.add(done)
    c.publish(
      topic,
      body,
      { qos: 1, properties: { payloadFormatIndicator: true, contentType: 'text/plain', ...(ref ? { userProperties: { ref } } : {}) } },
      (error, packet) => {
        // The packet is the PUBACK only when it refuses; else it is what was published.
        const p = packet as { messageId?: number; properties?: { userProperties?: Record<string, string> } } | undefined
        const reason = (error as { code?: unknown } | null | undefined)?.code
        const seq = told.get(p?.messageId ?? 0)
        told.delete(p?.messageId ?? 0)
        if (!error) done(seq === undefined ? {} : { seq })
        else if (typeof reason === 'number') done({ refused: p?.properties?.userProperties?.code ?? String(reason) })
        else done(null)
      },
    )
  })
}

export interface Ack {
  refused?: string
  /** The message's number in its conversation. */
  seq?: number
}

/** Sends what nobody needs later: typing. */
export function hint(topic: string, body: string): void {
  if (client && link.value === 'online') client.publish(topic, body, { qos: 0 })
}
