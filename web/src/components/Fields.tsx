// SPDX-License-Identifier: Apache-2.0
import { Code, Copy } from "./Copy";
import css from "./Fields.module.css";
import { isCommand, sortedFields } from "./fields";

/** Every column of an event that has a value, each with its copy button. */
export function Fields({ fields }: { fields: Readonly<Record<string, string>> }) {
  const items = sortedFields(fields);
  return (
    <div>
      <dl className={css.fields}>
        {items.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{isCommand(name) ? <Code text={value} label={`Copy ${name}`} /> : (
              <span className={css.value}>
                <code>{value}</code>
                <span className={css.copy}><Copy text={value} label={`Copy ${name}`} /></span>
              </span>
            )}</dd>
          </div>
        ))}
      </dl>
      <Copy text={JSON.stringify(Object.fromEntries(items), null, 2)} label="Copy all as JSON" showLabel />
    </div>
  );
}
