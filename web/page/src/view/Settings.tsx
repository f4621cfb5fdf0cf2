// The account, and how the page looks and behaves.
import { useState } from 'preact/hooks'
import * as api from '../api'
import { changePassword, login, Refused } from '../login'
import type { Profile } from '../model'
import { possible, switchNotifications, wanted } from '../notify'
import { drafts, type Theme, theme } from '../prefs'
import { leave, waiting } from '../session'
import { profile, tell } from '../state'
import { choose, language, type Language, languages, sentence, t } from '../words'
import { sure } from './Confirm'
import { Dialog } from './Dialog'
import { Field } from './Field'
import { Logins } from './Logins'
import { Legend } from './Mark'
import { complain } from './ThreadView'

export function Settings({ onClose }: { onClose: () => void }) {
  return (
    <Dialog title={t('settings')} onClose={onClose}>
      <Account />
      <Appearance />
      <Notifications />
      <Privacy />
      <Ticks />
      <Logins />
      <Password />
    </Dialog>
  )
}

async function change(c: Parameters<typeof api.updateMe>[0]): Promise<void> {
  try {
    profile.value = await api.updateMe(c)
    tell(t('saved'))
  } catch (e) {
    complain(e)
  }
}

async function out(): Promise<void> {
  const n = waiting()
  if (n > 0 && !(await sure(t('signOutQuestion', { n }), t('signOut')))) return
  const user = login.value?.user ?? ''
  await leave()
  drafts.clear(user)
}

function Account() {
  const p = profile.value
  const [name, setName] = useState(p?.display_name ?? '')
  return (
    <section class="section">
      <h3>{t('account')}</h3>
      <p class="quiet">{t('foundAs', { user: login.value?.user ?? '' })}</p>
      <form
        class="line"
        onSubmit={(e) => {
          e.preventDefault()
          void change({ display_name: name.trim() })
        }}
      >
        <Field label={t('displayName')} value={name} onValue={setName} autocomplete="name" required={false} plain max={100} />
        <button class="secondary" disabled={name.trim() === (p?.display_name ?? '')}>
          {t('save')}
        </button>
      </form>
      <button type="button" class="secondary" onClick={() => void out()}>
        {t('signOut')}
      </button>
    </section>
  )
}

function Choice<T extends string>(props: { label: string; value: T; of: readonly T[]; say: (v: T) => string; onChange: (v: T) => void }) {
  return (
    <label class="choice">
      <span>{props.label}</span>
      <select value={props.value} onChange={(e) => props.onChange(e.currentTarget.value as T)}>
        {props.of.map((v) => (
          <option key={v} value={v}>
            {props.say(v)}
          </option>
        ))}
      </select>
    </label>
  )
}

function Appearance() {
  return (
    <section class="section">
      <h3>{t('appearance')}</h3>
      <Choice
        label={t('theme')}
        value={theme.value}
        of={['auto', 'light', 'dark'] as const}
        say={(v: Theme) => t(`theme_${v}`)}
        onChange={(v) => (theme.value = v)}
      />
      <Choice
        label={t('languageLabel')}
        value={language.value}
        of={Object.keys(languages) as Language[]}
        say={(v) => languages[v].language}
        onChange={choose}
      />
    </section>
  )
}

function Notifications() {
  return (
    <section class="section">
      <h3>{t('notifications')}</h3>
      <label class="check">
        <input
          type="checkbox"
          checked={wanted.value}
          disabled={!possible}
          onChange={(e) => {
            const box = e.currentTarget
            void switchNotifications(box.checked).then((done) => {
              box.checked = wanted.value
              if (!done) tell(t('notificationsDenied'), true)
            })
          }}
        />
        {t('notificationsText')}
      </label>
    </section>
  )
}

function Privacy() {
  const p = profile.value
  if (!p) return null
  return (
    <section class="section">
      <h3>{t('privacy')}</h3>
      <label class="check">
        <input type="checkbox" checked={p.receipts} onChange={(e) => void change({ receipts: e.currentTarget.checked })} />
        {t('receipts')}
      </label>
      <Choice
        label={t('accept')}
        value={p.accept}
        of={['everyone', 'known', 'nobody'] as const}
        say={(v: Profile['accept']) => t(`accept_${v}`)}
        onChange={(accept) => void change({ accept })}
      />
    </section>
  )
}

function Ticks() {
  return (
    <section class="section">
      <h3>{t('ticks')}</h3>
      <Legend />
      <p class="quiet">{t('ticksWho')}</p>
    </section>
  )
}

function Password() {
  const [old, setOld] = useState('')
  const [next, setNext] = useState('')
  const [fault, setFault] = useState('')
  const submit = async (e: Event) => {
    e.preventDefault()
    if (new TextEncoder().encode(next).length < 8) return setFault(t('shortPassword'))
    try {
      await changePassword(old, next)
      setOld('')
      setNext('')
      setFault('')
      tell(t('passwordChanged'))
    } catch (e) {
      const code = e instanceof Refused ? e.code : undefined
      setFault(code === 'forbidden' ? t('wrongPassword') : sentence(code))
    }
  }
  return (
    <details class="section">
      <summary>{t('changePassword')}</summary>
      <form onSubmit={submit}>
        {/* For password managers. */}
        <input type="hidden" name="username" autocomplete="username" value={login.value?.user} />
        <Field label={t('oldPassword')} value={old} onValue={setOld} kind="password" autocomplete="current-password" />
        <Field label={t('newPassword')} value={next} onValue={setNext} kind="password" autocomplete="new-password" hint={t('passwordHint')} fault={fault} />
        <button class="primary">{t('changePassword')}</button>
      </form>
    </details>
  )
}
