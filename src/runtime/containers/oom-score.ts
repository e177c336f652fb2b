import type { RecordContext } from '../context.ts';

let told = false;

/** The oom_score_adj that this machine lets us give: never below our own without CAP_SYS_RESOURCE. */
export function clampOomScoreAdj(context: RecordContext, asked: bigint | undefined): number | undefined {
  if (asked === undefined) return undefined;
  const { mayLowerOomScore, ownOomScoreAdj } = context.kernel;
  if (mayLowerOomScore || Number(asked) >= ownOomScoreAdj) return Number(asked);
  if (!told)
    context.log.warn('oom_score_adj cannot be lowered without CAP_SYS_RESOURCE, containers get that of the runtime', {
      asked: Number(asked),
      given: ownOomScoreAdj,
    });
  told = true;
  return ownOomScoreAdj;
}
