// One line of a form, with its label, a hint and what is wrong with it.
import { useEffect, useId, useRef, useState } from 'preact/hooks'
import { t } from '../words'
import { Icon } from './Icon'

interface Props {
  label: string
  value: string
  onValue: (v: string) => void
  hint?: string
  fault?: string
  kind?: 'text' | 'password' | 'name'
  autocomplete?: 'username' | 'current-password' | 'new-password' | 'name' | 'off'
  required?: boolean
  /** Without the word that it may be left empty. */
  plain?: boolean
  focus?: boolean
  max?: number
}

export function Field({ label, value, onValue, hint, fault, kind = 'text', autocomplete = 'off', required, plain, focus, max }: Props) {
  const id = useId()
  const [open, setOpen] = useState(false)
  const input = useRef<HTMLInputElement>(null)
  useEffect(() => {
    if (focus) input.current?.focus()
  }, [])
  const more = fault ? id + '-fault' : hint ? id + '-hint' : undefined
  return (
    <div class="field">
      <label for={id}>
        {label}
        {required === false && !plain && <span class="quiet"> · {t('optional')}</span>}
      </label>
      <div class="input">
        <input
          ref={input}
          id={id}
          name={autocomplete}
          {...(kind === 'password' && !open ? ({ type: 'password' } as const) : ({ type: 'text' } as const))}
          value={value}
          required={required !== false}
          maxLength={max}
          autocomplete={autocomplete}
          aria-describedby={more}
          aria-invalid={fault ? true : undefined}
          {...(kind === 'text' ? {} : { autocapitalize: 'none', spellcheck: false })}
          onInput={(e) => onValue(e.currentTarget.value)}
        />
        {kind === 'password' && (
          <button type="button" class="round" aria-pressed={open} aria-label={t(open ? 'hidePassword' : 'showPassword')} onClick={() => setOpen(!open)}>
            <Icon name="eye" />
          </button>
        )}
      </div>
      {fault ? (
        <p class="fault" id={more}>
          {fault}
        </p>
      ) : (
        hint && (
          <p class="hint" id={more}>
            {hint}
          </p>
        )
      )}
    </div>
  )
}
