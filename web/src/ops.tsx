// The last ops, newest first, with what failed. SPDX-License-Identifier: Apache-2.0
import { touch, useFrames } from './frame';
import { bytes, clock, duration, signature } from './format';
import { t } from './i18n';
import { BACKWARD, FAILED, OPTIMISER } from './message';
import { Panel } from './panel';
import { shown } from './route';
import { state, type Failure, type Op } from './state';

type Line = { time: number; op?: Op; failure?: Failure };

/** Ops and failures by time. A failure belongs to its op's line if that was sent, else it has a line of its own. */
function lines(most: number): Line[] {
  const ops = state.opsBefore(state.time, state.followed, most);
  const list: Line[] = [];
  const told = new Set<Failure>();
  for (const op of ops) {
    const failure = op.flags & FAILED ? state.failureOf(op) : undefined;
    if (failure) told.add(failure);
    list.push({ time: op.time, op, failure });
  }
  const { items } = state.failures;
  const oldest = ops.length === most ? ops[most - 1]!.time : -Infinity;
  for (let i = state.failures.index(state.time); i >= 0 && items[i]!.time >= oldest; i--) {
    const failure = items[i]!;
    if (told.has(failure) || (state.followed && failure.session !== state.followed)) continue;
    if (list.some((line) => line.failure === failure)) continue;
    list.push({ time: failure.time, failure });
  }
  return list.sort((a, b) => b.time - a.time).slice(0, most);
}

/** What kind of op it is, in one sign: colour never tells alone. */
export function sign(op: Op): string {
  return op.flags & FAILED ? '✕' : op.flags & OPTIMISER ? '◆' : op.flags & BACKWARD ? '∂' : '';
}

export function kindClass(op: Op): string {
  return op.flags & FAILED ? 'failed' : op.flags & OPTIMISER ? 'optimiser' : op.flags & BACKWARD ? 'backward' : 'forward';
}

const NOTED = 20_000; // ms for which a failure stays in sight, however fast ops go by

function lastFailure(): Failure | undefined {
  const failure = state.failures.at(state.time);
  if (!failure || state.time - failure.time > NOTED) return undefined;
  return state.followed && failure.session !== state.followed ? undefined : failure;
}

export function OpsView() {
  useFrames(150);
  const list = lines(shown.view === 'ops' ? 200 : 60);
  const last = lastFailure();
  const program = (of: Op | Failure | undefined) => of?.life.programs.get(of.session) ?? '';
  return (
    <Panel
      view="ops"
      title="lastOps"
      aside={
        <span class="dim">{state.followed ? `${state.life?.programs.get(state.followed) ?? ''} #${state.followed}` : t('all')}</span>
      }
    >
      {last && (
        <button class="last" data-testid="last-failure" onClick={() => state.pause(last.time)}>
          ✕ <b>{state.opName(last.op)}</b> {last.message}{' '}
          <span class="dim">
            {program(last)} #{last.session} {last.site} · {clock(last.time)}
          </span>
        </button>
      )}
      {list.length === 0 ? (
        <p class="empty">{t('noOps')}</p>
      ) : (
        <div class="scroll">
          <table role="grid">
            <thead>
              <tr>
                <th class="w1">{t('time')}</th>
                <th class="w1">{t('program')}</th>
                <th>{t('op')}</th>
                <th>{t('result')}</th>
                <th class="n">{t('duration')}</th>
                <th class="n w2">{t('bytes')}</th>
                <th class="w2">{t('line')}</th>
              </tr>
            </thead>
            <tbody>
              {list.map(({ time, op, failure }, i) => {
                const failed = !!failure || (op && op.flags & FAILED);
                const session = op?.session ?? failure!.session;
                const site = op ? op.life.string(op.site) : '';
                return (
                  <tr
                    key={i} // by place: rows that go by fast change their text and are not made anew
                    class={failed ? 'failed' : ''}
                    data-failed={failed ? '' : undefined}
                    aria-selected={!!op && state.selected?.time === op.time && state.selected.session === session}
                    onClick={() => {
                      if (!op) return;
                      state.selected = op;
                      touch(true);
                    }}
                  >
                    <td class="w1 dim">{clock(time, 3)}</td>
                    <td class="w1">
                      {program(op ?? failure)} <span class="dim">#{session}</span>
                    </td>
                    <td class="name">
                      <i class={`sign ${op ? kindClass(op) : 'failed'}`}>{op ? sign(op) : '✕'}</i>
                      <b>{state.opName(op?.op ?? failure!.op)}</b>
                    </td>
                    <td class="mono">
                      {op && signature(op)}
                      {failure && <span class="message">{failure.message}</span>}
                    </td>
                    <td class="n">{op ? duration(op.duration) : ''}</td>
                    <td class="n w2">{op && op.bytes ? bytes(op.bytes) : ''}</td>
                    <td class="w2 dim site">{site || failure?.site}</td>
                  </tr>
                );
              })}
            </tbody>
          </table>
        </div>
      )}
    </Panel>
  );
}
