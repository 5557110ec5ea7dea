// What one must always know: is this live, is anything missing, has the worker ended. SPDX-License-Identifier: Apache-2.0
import { clock, count, number } from './format';
import { touch, useFrames } from './frame';
import { t } from './i18n';
import type { Stat } from './message';
import { shown } from './route';
import { state } from './state';

const STALLED = 2000; // ms without a heartbeat after which one should know

/** What the device's own instruments show: "71 W · 34 °C · 12 %". */
function gauges(stat: Stat): string {
  const shown: [number | undefined, number, string][] = [
    [stat.power_watts, 1, 'W'],
    [stat.temperature_celsius, 1, '°C'],
    [stat.busy_ratio, 100, '%'],
  ];
  return shown
    .filter(([value]) => value !== undefined && value >= 0)
    .map(([value, factor, unit]) => `${number(Math.round((value as number) * factor))} ${unit}`)
    .join(' · ');
}

export function Status() {
  useFrames(500);
  const { connection, life, end } = state;
  const stat = state.stats.last?.stat;
  const parts: string[] = [];
  if (connection === 'open') parts.push(t('connected'));
  else if (connection === 'connecting') parts.push(t('connecting'));
  else if (connection === 'denied') parts.push(t('refused'));
  else parts.push(`${t('reconnecting')} …`);
  if (state.paused !== null) parts.push(t('paused') + (state.feedStopped ? `, ${t('feedStopped')}` : ''));
  if (end !== null) parts.push(`${t('ended')}: ${end}`);
  if (stat && connection === 'open' && stat.heartbeat_age_ms > STALLED) {
    parts.push(`${t('stalled')} ${number(Math.floor(stat.heartbeat_age_ms / 1000))} s`);
  }
  const bad = connection === 'lost' || connection === 'denied' || end !== null;
  const latency = document.documentElement.dataset.eventToPixelMs;
  return (
    <div class="status" data-testid="status" data-connection={connection} data-paused={state.paused !== null ? '' : undefined}>
      <span role="status" aria-live="polite" class={bad ? 'bad' : state.paused !== null ? 'held' : 'good'}>
        <i aria-hidden="true">{bad ? '▲' : state.paused !== null ? '‖' : '●'}</i> {parts.join(' · ')}
      </span>
      {state.lostRecords + state.skippedMessages > 0 && (
        <span class="held" data-testid="skipped" data-skipped={state.lostRecords + state.skippedMessages}>
          {count(state.lostRecords + state.skippedMessages)} {t('records')} {t('skipped')}
        </span>
      )}
      <span class="grow" />
      {stat && gauges(stat) && (
        <span class="dim" data-testid="gauges">
          GPU {gauges(stat)}
        </span>
      )}
      {latency && state.paused === null && <span class="dim">{t('latency')} {number(Math.max(0, Number(latency)))} ms</span>}
      {life && (
        <span class="dim version">
          tensord {life.hello.version} · {t('life')} {life.hello.life} · pid {life.hello.pid}
        </span>
      )}
    </div>
  );
}

/** What must not be overlooked, until it is closed. */
export function Notices() {
  useFrames(500);
  const { end } = state;
  const restart = state.restarts[state.restarts.length - 1];
  return (
    <div class="notices" role="alert">
      {state.connection === 'denied' && <p data-testid="denied">{t('denied')}</p>}
      {end !== null && (
        <p data-testid="ended">
          ▲ {t('ended')}: {end}
        </p>
      )}
      {end === null && restart && restart.time > shown.restartsClosed && (
        <p data-testid="restarted">
          ↻ {t('restarted')} ({t('at')} {clock(restart.time)}){restart.cause ? ` · ${t('ended')}: ${restart.cause}` : ''}
          <button
            class="icon"
            aria-label={t('close')}
            onClick={() => {
              shown.restartsClosed = restart.time;
              touch(true);
            }}
          >
            ×
          </button>
        </p>
      )}
    </div>
  );
}
