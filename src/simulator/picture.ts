import type { PolicyReport } from "./simulate.ts";

/** Policies as points: memory held idle to the right, cold starts of the 75th-percentile application upwards. An SVG document. */
export function picture(reports: readonly PolicyReport[]): string {
  const mostX = roundUp(Math.max(...reports.map(({ wasted }) => wasted), 0.1), 0.5);
  const mostY = roundUp(Math.max(...reports.map(({ applications }) => applications.p75), 0.01), 0.1);
  const x = (wasted: number): number => left + (wasted / mostX) * (width - left - right);
  const y = (share: number): number => height - bottom - (share / mostY) * (height - top - bottom);
  const lines: string[] = [];
  for (let step = 0; step <= 5; step++) {
    const [atX, atY] = [x((mostX * step) / 5), y((mostY * step) / 5)];
    lines.push(
      `<path d="M${round(atX)} ${top}V${height - bottom}M${left} ${round(atY)}H${width - right}" stroke="#ddd"/>`,
      `<text x="${round(atX)}" y="${height - bottom + 18}" text-anchor="middle">${((mostX * step) / 5).toFixed(2)}</text>`,
      `<text x="${left - 8}" y="${round(atY + 4)}" text-anchor="end">${((100 * mostY * step) / 5).toFixed(0)} %</text>`,
    );
  }
  for (const [index, { policy, wasted, applications }] of reports.entries()) {
    const colour = colours[index % colours.length]!;
    const [atX, atY] = [round(x(wasted)), round(y(applications.p75))];
    // Near the right edge its name stands on the left.
    const anchor = atX > width - right - 120 ? `x="${atX - 9}" text-anchor="end"` : `x="${atX + 9}"`;
    lines.push(
      `<circle cx="${atX}" cy="${atY}" r="5" fill="${colour}"/>`,
      `<text ${anchor} y="${atY - 6}" fill="${colour}">${escaped(policy)}</text>`,
    );
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">
<rect width="${width}" height="${height}" fill="#fff"/>
${lines.join("\n")}
<text x="${(left + width - right) / 2}" y="${height - 12}" text-anchor="middle">idle memory-time ÷ that of 10 minutes fixed</text>
<text transform="translate(16 ${(top + height - bottom) / 2}) rotate(-90)" text-anchor="middle">cold starts of the 75th-percentile application</text>
</svg>
`;
}

function roundUp(value: number, step: number): number {
  return Math.ceil(value / step) * step;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

const [width, height, left, right, top, bottom] = [640, 420, 70, 20, 20, 60];
const colours = ["#b2182b", "#d6604d", "#4d4d4d", "#1b7837", "#2166ac", "#762a83"];
