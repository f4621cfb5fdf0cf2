// How far an own message has come: a clock, one tick, two, two in colour.
import { t } from '../words'
import { Icon } from './Icon'

export type Stage = 'pending' | 'stored' | 'delivered' | 'read' | 'refused'

export function Mark({ stage }: { stage: Stage }) {
  return (
    <span class={`mark ${stage}`} title={t(stage)}>
      <Icon name={stage === 'read' ? 'delivered' : stage} size={16} label={t(stage)} />
    </span>
  )
}

/** What each mark means. */
export function Legend() {
  return (
    <ul class="plain ticks">
      {(['pending', 'stored', 'delivered', 'read'] as const).map((s) => (
        <li key={s} class="line">
          <Mark stage={s} />
          <span>{t(`ticks_${s}`)}</span>
        </li>
      ))}
    </ul>
  )
}
