"use strict";
// Works on what stands on the page; without it everything is shown all the same.
(() => {
  const number = (value) => {
    const size = Math.abs(value);
    if (value === 0 || (size >= 1e-3 && size < 1e6)) {
      return Number(value.toPrecision(4)).toLocaleString("en-US", { maximumSignificantDigits: 4 });
    }
    return value.toExponential(3);
  };
  const make = (parent, name, text) => {
    const element = parent.appendChild(document.createElement(name));
    element.textContent = text;
    return element;
  };

  // Values of a chart's curves where it is pointed at, or by the arrow keys.
  for (const figure of document.querySelectorAll("figure[data-curves]")) {
    const svg = figure.querySelector("svg");
    const axis = JSON.parse(figure.dataset.axis);
    const curves = JSON.parse(figure.dataset.curves);
    const places = [...new Set(curves.flatMap(([, , points]) => points.map(([x]) => x)))].sort((a, b) => a - b);
    const line = svg.appendChild(document.createElementNS("http://www.w3.org/2000/svg", "path"));
    line.setAttribute("class", "pointer");
    const tip = make(figure, "div", "");
    tip.className = "tip";
    tip.hidden = true;
    let at = places.length - 1;
    const nearest = (points, x) => points.reduce((a, b) => (Math.abs(b[0] - x) < Math.abs(a[0] - x) ? b : a));
    const across = (x) => axis.left + (x / axis.last) * (axis.right - axis.left);
    const show = (x) => {
      const drawn = across(x);
      line.setAttribute("d", `M${drawn} 10V190`);
      tip.textContent = "";
      make(tip, "b", `${axis.over} ${number(x)}`);
      for (const [run, letter, points] of curves) {
        const row = make(tip, "div", "");
        if (curves.length > 1) {
          const badge = make(row, "span", letter);
          badge.className = "badge";
          badge.style.background = `var(--run${run % 7})`;
        }
        make(row, "span", ` ${number(nearest(points, x)[1])}`);
      }
      tip.hidden = false;
      line.style.display = "";
      const right = drawn > axis.width / 2;
      tip.style.left = right ? "" : `${(100 * drawn) / axis.width + 2}%`;
      tip.style.right = right ? `${100 - (100 * drawn) / axis.width + 2}%` : "";
    };
    const hide = () => {
      tip.hidden = true;
      line.style.display = "none";
    };
    hide();
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const x = (((event.clientX - box.left) / box.width) * axis.width - axis.left) / (axis.right - axis.left);
      const wanted = Math.min(1, Math.max(0, x)) * axis.last;
      at = places.reduce((best, place, k) => (Math.abs(place - wanted) < Math.abs(places[best] - wanted) ? k : best), 0);
      show(places[at]);
    });
    svg.addEventListener("pointerleave", hide);
    svg.addEventListener("blur", hide);
    svg.setAttribute("tabindex", "0");
    svg.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step) {
        at = Math.min(places.length - 1, Math.max(0, at + (tip.hidden ? 0 : step)));
        show(places[at]);
        event.preventDefault();
      }
    });
  }

  // One moment of the training at a time.
  for (const timeline of document.querySelectorAll(".timeline")) {
    const moments = [...timeline.querySelectorAll(".moment")].reverse();
    if (moments.length < 2) continue;
    timeline.classList.add("sliding");
    const label = document.createElement("label");
    label.className = "slider";
    const slider = document.createElement("input");
    Object.assign(slider, { type: "range", min: 0, max: moments.length - 1, step: 1, value: moments.length - 1 });
    label.append(slider);
    const told = make(label, "output", "");
    const choose = () => {
      moments.forEach((moment, k) => moment.classList.toggle("chosen", k === Number(slider.value)));
      told.textContent = `iteration ${Number(moments[slider.value].dataset.iteration).toLocaleString("en-US")}`;
    };
    slider.addEventListener("input", choose);
    slider.setAttribute("aria-label", "Iteration of the samples");
    timeline.prepend(label);
    choose();
  }

  // The legend switches runs off and on, everywhere.
  for (const entry of document.querySelectorAll("nav .entry")) {
    entry.setAttribute("role", "button");
    entry.setAttribute("tabindex", "0");
    entry.setAttribute("aria-pressed", "true");
    const toggle = () => {
      const on = entry.getAttribute("aria-pressed") === "false";
      entry.setAttribute("aria-pressed", String(on));
      for (const drawn of document.querySelectorAll(`svg [data-run="${entry.dataset.run}"]`)) {
        drawn.style.display = on ? "" : "none";
      }
    };
    entry.addEventListener("click", toggle);
    entry.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") {
        toggle();
        event.preventDefault();
      }
    });
  }

  // What is folded away is printed.
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    folded.forEach((one) => (one.open = true));
  });
  addEventListener("afterprint", () => folded.forEach((one) => (one.open = false)));
})();
