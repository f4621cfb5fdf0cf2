// Where the account is signed in, and the devices that the server keeps messages
// for: each can be signed out from here.
import { useEffect, useState } from 'preact/hooks'
import * as api from '../api'
import { tell } from '../state'
import { t, whenOf } from '../words'
import { sure } from './Confirm'
import { complain } from './ThreadView'

interface Place {
  name: string
  here: boolean
  state: string
  end: () => Promise<unknown>
}

const browsers: Record<string, string> = { edg: 'Edge', opr: 'Opera', firefox: 'Firefox', chrome: 'Chrome', safari: 'Safari' }

/** A login of the page is called after its browser (login.ts), any other as its program likes. */
function nameOfLogin(device: string | undefined): string {
  if (!device) return t('unnamedDevice')
  const browser = /^page-([a-z]+)$/.exec(device)?.[1]
  return browser ? t('pageIn', { browser: browsers[browser] ?? t('aBrowser') }) : device
}

async function load(): Promise<Place[]> {
  // A tab of the page has no session: its login stands for it.
  const [{ logins }, { devices: sessions }] = await Promise.all([api.logins(), api.devices()])
  const held = new Set(sessions.map((d) => d.device))
  return [
    // The login of a device that has a session ends with that.
    ...logins
      .filter((l) => l.current || !held.has(l.device ?? ''))
      .sort((a, b) => Number(b.current) - Number(a.current))
      .map((l) => ({
        name: nameOfLogin(l.device),
        here: l.current,
        state: l.current ? t('thisBrowser') : t('lastUsed', { when: whenOf(l.used_at) }),
        end: () => api.endLogin(l.login),
      })),
    ...sessions.map((d) => ({
      name: d.device,
      here: false,
      state: d.connected ? t('connectedNow') : t('lastSeen', { when: whenOf(d.last_seen) }),
      end: () => api.revokeDevice(d.device),
    })),
  ]
}

export function Logins() {
  const [open, setOpen] = useState(false)
  const [places, setPlaces] = useState<Place[] | null>(null)
  const read = () => load().then(setPlaces).catch(complain)
  useEffect(() => {
    if (open) void read()
  }, [open])
  const end = async (p: Place) => {
    if (!(await sure(t('signOutThereQuestion', { what: p.name }), t('signOutThere')))) return
    try {
      await p.end()
      tell(t('signedOutThere', { what: p.name }))
    } catch (e) {
      complain(e)
    }
    await read()
  }
  return (
    <details class="section" onToggle={(e) => setOpen(e.currentTarget.open)}>
      <summary>{t('logins')}</summary>
      <p class="quiet">{t('loginsText')}</p>
      {!places && <p class="quiet">{t('loading')}</p>}
      <ul class="plain places">
        {places?.map((p, i) => (
          <li key={i} class="line">
            <span class="grow">
              <strong dir="auto">{p.name}</strong>
              <span class={`block ${p.here ? 'accent' : 'quiet'}`}>{p.state}</span>
            </span>
            {!p.here && (
              <button type="button" class="secondary" aria-label={`${t('signOutThere')}: ${p.name}, ${p.state}`} onClick={() => void end(p)}>
                {t('signOutThere')}
              </button>
            )}
          </li>
        ))}
      </ul>
    </details>
  )
}
