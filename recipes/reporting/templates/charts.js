  const charts = JSON.parse(document.getElementById("chart-data").textContent);
  const hidden = new Set(); // labels of codecs that the reader has switched off
  const theme = matchMedia("(prefers-color-scheme: dark)");
  const colour = name => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();

  const intervalOf = ({low, high}) => low < high ? ` (${Number(low.toFixed(3))} to ${Number(high.toFixed(3))})` : "";

  const traceOf = (chart, curve) => {
    const ink = colour("codec-" + curve.colour), points = curve.points;
    if (curve.limit) return {
      name: curve.label, x: points.map(point => point.rate), y: points.map(point => point.value), mode: "lines",
      line: {color: colour("soft"), width: 1.5, dash: "dash"}, hoverinfo: "skip",
    };
    return {
      name: curve.label, visible: !hidden.has(curve.label),
      x: points.map(point => point.rate), y: points.map(point => point.value),
      customdata: points.map(point => [point.label, intervalOf(point)]),
      hovertemplate: "<b>%{customdata[0]}</b><br>%{y:.3~f}%{customdata[1]}<br>%{x:.3~r} " + chart.rateAxis + "<extra></extra>",
      error_y: {
        type: "data", symmetric: false, thickness: 1.2, width: 3,
        array: points.map(point => point.high - point.value), arrayminus: points.map(point => point.value - point.low),
      },
      mode: "lines+markers", line: {color: ink, width: curve.main ? 3.5 : 2},
      marker: {color: ink, symbol: curve.symbol, size: curve.main ? 11 : 8},
    };
  };

  const layoutOf = chart => {
    const text = colour("text"), soft = colour("soft"), line = colour("line");
    const axis = {gridcolor: line, zeroline: false, color: text, fixedrange: !matchMedia("(pointer: fine)").matches};
    const range = chart.logarithmic ? chart.rateRange.map(Math.log10) : chart.rateRange;
    return {
      xaxis: {
        ...axis, title: {text: chart.rateAxis, standoff: 8}, type: chart.logarithmic ? "log" : "linear", range,
        tickvals: chart.rateTicks, ticktext: chart.rateTicks.map(String),
      },
      yaxis: {...axis, range: chart.scoreRange, nticks: 9},
      shapes: chart.ceilings.map(one => ({
        type: "line", xref: "paper", x0: 0, x1: 1, y0: one.value, y1: one.value, layer: "below",
        line: {color: soft, width: 1, dash: "dash"},
      })),
      annotations: chart.ceilings.map((one, place) => ({
        text: one.label.replace(/[<&]/g, "") + " " + Number(one.value.toPrecision(3)), showarrow: false, font: {color: soft, size: 11},
        xref: "paper", x: [1, 0, .5][place % 3], xanchor: ["right", "left", "center"][place % 3], y: one.value, yanchor: "bottom",
        xshift: [0, 4, 0][place % 3],
      })),
      font: {family: getComputedStyle(document.body).fontFamily, size: 12, color: text},
      hoverlabel: {align: "left"}, showlegend: false, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      margin: {l: 44, r: 8, t: 8, b: 40},
    };
  };

  const draw = () => {
    for (const figure of document.querySelectorAll(".chart[data-chart]")) {
      const chart = charts[figure.dataset.chart], drawing = figure.querySelector(".drawing");
      drawing.hidden = false;
      // The codec that the page is about comes last, on top.
      Plotly.react(drawing, chart.curves.map(curve => traceOf(chart, curve)).reverse(), layoutOf(chart), {displayModeBar: false, responsive: true})
        .then(() => figure.classList.add("drawn"));
    }
  };

  const toggle = label => {
    hidden.has(label) ? hidden.delete(label) : hidden.add(label);
    for (const button of document.querySelectorAll("[data-codec]"))
      button.setAttribute("aria-pressed", String(!hidden.has(button.dataset.codec)));
    draw();
  };

  if (window.Plotly) {
    for (const button of document.querySelectorAll("[data-codec]")) {
      button.disabled = false;
      button.addEventListener("click", () => toggle(button.dataset.codec));
    }
    theme.addEventListener("change", draw);
    draw();
  }
