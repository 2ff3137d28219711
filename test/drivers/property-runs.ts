/**
 * Runs of a property or rounds of a crash test: `usual`, or as many times more as `VIRGA_TEST_RUNS` says.
 * For a long run: `VIRGA_TEST_RUNS=100 node --test "test/drivers/**\/*.property.test.ts"`.
 */
export function propertyRuns(usual: number): number {
  const factor = Number(process.env["VIRGA_TEST_RUNS"] ?? 1);
  if (!(factor > 0)) throw new Error(`VIRGA_TEST_RUNS=${process.env["VIRGA_TEST_RUNS"]} is no factor`);
  return Math.ceil(usual * factor);
}
