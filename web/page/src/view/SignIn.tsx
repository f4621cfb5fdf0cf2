// The door: sign in, or make an account where the server lets strangers do that.
import { useState } from 'preact/hooks'
import { Refused, register, signedOutBy, signIn } from '../login'
import { isName } from '../model'
import { invitation } from '../route'
import { choose, language, type Language, languages, sentence, t } from '../words'
import { Field } from './Field'

const registration = document.querySelector<HTMLMetaElement>('meta[name="postbox-registration"]')?.content ?? 'closed'

export function SignIn() {
  const invited = invitation()
  const [making, setMaking] = useState(invited !== '' && registration !== 'closed')
  const [user, setUser] = useState('')
  const [password, setPassword] = useState('')
  const [name, setName] = useState('')
  const [invite, setInvite] = useState(invited)
  const [fault, setFault] = useState('')
  const [busy, setBusy] = useState(false)

  const submit = async (e: Event) => {
    e.preventDefault()
    const u = user.trim().toLowerCase()
    if (making && !isName(u)) return setFault(t('badName'))
    if (making && new TextEncoder().encode(password).length < 8) return setFault(t('shortPassword'))
    setFault('')
    setBusy(true)
    try {
      await (making ? register(u, password, name.trim(), invite.trim()) : signIn(u, password))
    } catch (e) {
      const code = e instanceof Refused ? e.code : undefined
      if (making && code === 'forbidden') setFault(t('err_register_forbidden'))
      else if (making && code === 'conflict') setFault(t('err_register_conflict'))
      else setFault(code === 'invalid' && !making ? t('err_unauthenticated') : sentence(code))
    } finally {
      setBusy(false)
    }
  }

  return (
    <main class="door">
      <div class="door-card">
        <img src="./postbox.svg" alt="" width="56" height="56" />
        <h1>Postbox</h1>
        <p class="quiet">{t('tagline')}</p>
        {signedOutBy.value !== 'nobody' && (
          <p class="note" role="alert">
            {t(`signedOut_${signedOutBy.value}`)}
          </p>
        )}
        <form onSubmit={submit} key={making ? 'register' : 'login'}>
          <Field
            label={t('userName')}
            value={user}
            onValue={setUser}
            kind="name"
            autocomplete="username"
            focus
            max={64}
            {...(making ? { hint: t('userNameHint') } : {})}
          />
          {making && (
            <Field label={t('displayName')} value={name} onValue={setName} hint={t('displayNameHint')} autocomplete="name" required={false} max={100} />
          )}
          <Field
            label={t('password')}
            value={password}
            onValue={setPassword}
            kind="password"
            autocomplete={making ? 'new-password' : 'current-password'}
            {...(making ? { hint: t('passwordHint') } : {})}
          />
          {making && registration === 'invite' && <Field label={t('invite')} value={invite} onValue={setInvite} kind="name" />}
          <p class="fault" role="alert">
            {fault}
          </p>
          <button class="primary wide" disabled={busy}>
            {busy ? t('signingIn') : t(making ? 'createAccount' : 'signIn')}
          </button>
        </form>
        {registration !== 'closed' && (
          <p class="switch">
            {t(making ? 'haveAccount' : 'noAccount')}{' '}
            <button
              type="button"
              class="link"
              onClick={() => {
                setMaking(!making)
                setFault('')
              }}
            >
              {t(making ? 'signIn' : 'createAccount')}
            </button>
          </p>
        )}
      </div>
      <Languages />
    </main>
  )
}

function Languages() {
  return (
    <p class="languages">
      {(Object.keys(languages) as Language[]).map((l) => (
        <button key={l} type="button" class="link" lang={l} aria-pressed={language.value === l} onClick={() => choose(l)}>
          {languages[l].language}
        </button>
      ))}
    </p>
  )
}
