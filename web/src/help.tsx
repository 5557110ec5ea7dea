// All keys. SPDX-License-Identifier: Apache-2.0
import { useEffect, useRef } from 'preact/hooks';
import { t, type Text } from './i18n';

const KEYS: [string, Text][] = [
  ['1 2 3 4', 'keyViews'],
  ['Space', 'keySpace'],
  ['← →', 'keyArrows'],
  ['PgUp PgDn', 'keyPages'],
  ['End', 'keyEnd'],
  ['F', 'keyFit'],
  ['G', 'keyBackward'],
  ['H', 'keyHeat'],
  ['+ −', 'keyZoom'],
  ['Shift ←↑→↓', 'keyPan'],
  ['U', 'keyUser'],
  ['T', 'keyTable'],
  ['D', 'keyTheme'],
  ['L', 'keyLanguage'],
  ['Esc', 'keyEscape'],
  ['?', 'help'],
];

export function Help({ close }: { close: () => void }) {
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => button.current?.focus(), []);
  return (
    <div class="overlay" onClick={close}>
      <div class="help" role="dialog" aria-modal="true" aria-label={t('help')} data-testid="help" onClick={(event) => event.stopPropagation()}>
        <header>
          <h2>{t('help')}</h2>
          <button class="icon" ref={button} aria-label={t('close')} onClick={close}>×</button>
        </header>
        <dl>
          {KEYS.map(([keys, text]) => (
            <>
              <dt>{keys.split(' ').map((key) => <kbd key={key}>{key}</kbd>)}</dt>
              <dd>{t(text)}</dd>
            </>
          ))}
        </dl>
      </div>
    </div>
  );
}
