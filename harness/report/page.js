// Draws the latency scatter; everything else on the page is there without it.
(() => {
  const canvas = document.getElementById("scatter"), under = document.getElementById("under");
  if (!canvas) return;
  const data = JSON.parse(document.getElementById("data").textContent);
  const W = 1000, H = 320, L = 64, R = 12, T = 10, B = 24;
  const all = ["ok", "fail", "info"].flatMap((name) => data[name].filter((_, i) => i % 2));
  let least = Infinity, most = 1;
  for (const us of all) { if (us < least) least = us; if (us > most) most = us; }
  const low = Math.floor(Math.log10(Math.max(least === Infinity ? 1 : least, 1)));
  const high = Math.max(low + 1, Math.ceil(Math.log10(most)));
  const x = (ms) => L + (W - L - R) * ms / data.duration_ms;
  const y = (us) => H - B - (H - T - B) * (Math.log10(Math.max(us, 1)) - low) / (high - low);
  const text = (us) => us >= 1e6 ? us / 1e6 + " s" : us >= 1e3 ? us / 1e3 + " ms" : us + " µs";
  const step = (range) => {
    const rough = range / 10, power = 10 ** Math.floor(Math.log10(rough));
    return [1, 2, 5, 10].find((m) => rough <= m * power) * power;
  };
  const draw = () => {
    const style = getComputedStyle(document.documentElement), colour = (name) => style.getPropertyValue("--" + name);
    const ratio = canvas.clientWidth / W * (window.devicePixelRatio || 1) || 1;
    canvas.width = W * ratio; canvas.height = H * ratio;
    const g = canvas.getContext("2d");
    g.setTransform(ratio, 0, 0, ratio, 0, 0);
    g.font = "11px system-ui, sans-serif";
    for (const [, family, , from, to] of data.faults) {
      g.globalAlpha = .13; g.fillStyle = colour(family) || colour("other");
      g.fillRect(x(Math.max(from, 0)), T, Math.max(x(Math.min(to, data.duration_ms)) - x(Math.max(from, 0)), 1), H - T - B);
    }
    g.globalAlpha = 1; g.strokeStyle = colour("line"); g.fillStyle = colour("dim"); g.beginPath();
    g.textAlign = "end";
    for (let power = low; power <= high; power++) {
      g.moveTo(L, y(10 ** power)); g.lineTo(W - R, y(10 ** power));
      g.fillText(text(10 ** power), L - 6, y(10 ** power) + 4);
    }
    g.textAlign = "center";
    for (let at = 0, s = step(data.duration_ms / 1e3); at * 1e3 <= data.duration_ms; at += s) {
      g.moveTo(x(at * 1e3), T); g.lineTo(x(at * 1e3), H - B);
      g.fillText(+at.toFixed(3) + " s", x(at * 1e3), H - B + 15);
    }
    g.stroke();
    for (const [name, size, alpha] of [["fail", 1.5, .6], ["ok", 1.5, .5], ["info", 3, .9]]) {
      g.globalAlpha = alpha; g.fillStyle = colour(name);
      const points = data[name];
      for (let i = 0; i < points.length; i += 2)
        g.fillRect(x(points[i]) - size / 2, y(points[i + 1]) - size / 2, size, size);
    }
    g.globalAlpha = 1;
  };
  canvas.addEventListener("mousemove", (event) => {
    const ms = (event.offsetX * W / canvas.clientWidth - L) * data.duration_ms / (W - L - R);
    const present = data.faults.filter(([, , , from, to]) => from <= ms && ms <= to)
      .map(([name, , targets]) => name + " " + targets);
    under.textContent = ms < 0 || ms > data.duration_ms ? "\u00a0" :
      (ms / 1e3).toFixed(2) + " s: " + (present.join(", ") || "no fault");
  });
  addEventListener("resize", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  draw();
})();
