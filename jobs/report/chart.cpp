#include "jobs/report/chart.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/core.h>

#include "jobs/report/html.hpp"

namespace hack::jobs {
namespace {

// Sizes in the units of the view box: a picture of 480 fills a telephone, so that its texts stay readable there.
constexpr double view_width = 480, view_height = 320, plot_left = 64, plot_right = 14, plot_top = 10, plot_bottom = 48;
constexpr int series_colors = 6;

/// One axis: where numbers lie on it, and where its marks stand.
class Scale {
 public:
  Scale(double low, double high, bool is_log, double from, double to) : log_(is_log), from_(from), to_(to) {
    low_ = place(low), high_ = place(high);
    const double room = std::max(high_ - low_, log_ ? 0.1 : 1e-9 + std::abs(high_) * 0.1);
    const bool at_zero = !log_ && low >= 0 && low < 0.4 * high;
    low_ = at_zero ? 0 : low_ - 0.06 * room;
    high_ += 0.06 * room;
    if (high_ <= low_) high_ = low_ + room;
  }

  double at(double value) const { return from_ + (place(value) - low_) / (high_ - low_) * (to_ - from_); }

  std::vector<double> marks() const { return log_ ? log_marks() : linear_marks(); }

 private:
  double place(double value) const { return log_ ? std::log10(value) : value; }

  std::vector<double> linear_marks() const {
    const double raw = (high_ - low_) / 5, ten = std::pow(10, std::floor(std::log10(raw)));
    const double step = raw / ten > 5 ? 10 * ten : raw / ten > 2 ? 5 * ten : raw / ten > 1 ? 2 * ten : ten;
    std::vector<double> marks;
    for (double n = std::ceil(low_ / step); n * step <= high_; ++n) marks.push_back(n * step);
    return marks;
  }

  /// 1, 2 and 5 of each decade, more of less than one; of many decades the powers of ten, every second or third where
  /// they are too many.
  std::vector<double> log_marks() const {
    const double decades = high_ - low_;
    const double stride = std::max(1.0, std::ceil(decades / 6));
    std::vector<double> marks;
    for (double n = std::floor(low_); n <= high_; n += stride) {
      for (const double digit : {1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0}) {
        if (decades > 2 && digit > 1) continue;
        if (decades > 0.8 && digit != 1 && digit != 2 && digit != 5) continue;
        const double mark = digit * std::pow(10, n);
        if (std::log10(mark) >= low_ && std::log10(mark) <= high_) marks.push_back(mark);
      }
    }
    return marks;
  }

  bool log_;
  double from_, to_, low_ = 0, high_ = 1;
};

std::string short_number(double value) {
  const double size = std::abs(value);
  if (size >= 1e12) return fmt::format("{:.3g}T", value * 1e-12);
  if (size >= 1e9) return fmt::format("{:.3g}G", value * 1e-9);
  if (size >= 1e6) return fmt::format("{:.3g}M", value * 1e-6);
  if (size >= 1e4) return fmt::format("{:.3g}k", value * 1e-3);
  return fmt::format("{:.3g}", size < 1e-12 ? 0.0 : value);
}

std::string color(std::size_t series) { return fmt::format("var(--s{})", series % series_colors); }

std::string figure(const std::string& title, const std::string& view, const std::string& drawing,
                   const std::string& legend) {
  return fmt::format(
      "<figure><figcaption>{0}</figcaption>\n<svg viewBox=\"0 0 {1}\" role=\"img\" aria-label=\"{0}\">\n{2}</svg>\n"
      "{3}</figure>\n",
      escaped(title), view, drawing, legend);
}

std::string draw_axes(const Axes& axes, const Scale& x, const Scale& y) {
  std::string svg;
  for (const double mark : y.marks()) {
    svg += fmt::format("<path class=\"mesh\" d=\"M{:.1f} {:.1f}H{:.1f}\" />", plot_left, y.at(mark),
                       view_width - plot_right);
    svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>\n", plot_left - 5, y.at(mark) + 5,
                       short_number(mark));
  }
  double last = -1e9;
  for (const double mark : x.marks()) {
    if (x.at(mark) - last < 42) continue;
    last = x.at(mark);
    svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>\n", last,
                       view_height - plot_bottom + 18, short_number(mark));
  }
  svg += fmt::format("<path class=\"axis\" d=\"M{:.1f} {:.1f}V{:.1f}H{:.1f}\" />\n", plot_left, plot_top,
                     view_height - plot_bottom, view_width - plot_right);
  svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>\n",
                     (plot_left + view_width - plot_right) / 2, view_height - 8, escaped(axes.x));
  return svg + fmt::format("<text transform=\"translate(14 {:.1f}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n",
                           (plot_top + view_height - plot_bottom) / 2, escaped(axes.y));
}

std::string draw_series(const Series& series, std::size_t number, const Scale& x, const Scale& y) {
  std::string svg, path;
  for (const ChartPoint& point : series.points) {
    path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : "L", x.at(point.x), y.at(point.y));
  }
  if (series.line && series.points.size() > 1) {
    svg += fmt::format("<path class=\"path{}\" stroke=\"{}\" d=\"{}\" />\n", series.dashed ? " dash" : "",
                       color(number), path);
  }
  if (series.dashed) return svg;
  for (const ChartPoint& point : series.points) {
    const double at_x = x.at(point.x), at_y = y.at(point.y);
    svg += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4.5\" fill=\"{}\"><title>{}: {}, {}</title></circle>\n",
                       at_x, at_y, color(number), escaped(point.label.empty() ? series.name : point.label),
                       format_number(point.x), format_number(point.y));
    if (point.label.empty()) continue;
    const bool to_left = at_x > view_width * 0.65;
    svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}</text>\n", at_x + (to_left ? -8 : 8),
                       at_y - 6, to_left ? "end" : "start", escaped(point.label));
  }
  return svg;
}

std::string legend_of(const std::vector<Series>& series) {
  if (series.size() < 2) return {};
  std::string html = "<ul class=\"legend\">";
  for (std::size_t s = 0; s < series.size(); ++s) {
    html += fmt::format("<li><i style=\"background:{}\"></i>{}</li>", color(s), escaped(series[s].name));
  }
  return html + "</ul>\n";
}

/// Leaves out what cannot be drawn: no numbers, and on a logarithmic axis what is not above 0.
void keep_drawable(const Axes& axes, std::vector<Series>& series) {
  const auto fits = [](double value, bool is_log) { return std::isfinite(value) && (!is_log || value > 0); };
  for (Series& one : series) {
    std::erase_if(one.points,
                  [&](const ChartPoint& point) { return !fits(point.x, axes.log_x) || !fits(point.y, axes.log_y); });
    if (one.line) {
      std::stable_sort(one.points.begin(), one.points.end(),
                       [](const ChartPoint& a, const ChartPoint& b) { return a.x < b.x; });
    }
  }
  std::erase_if(series, [](const Series& one) { return one.points.empty(); });
}

}  // namespace

std::string draw_chart(const std::string& title, const Axes& axes, std::vector<Series> series) {
  keep_drawable(axes, series);
  if (series.empty()) return {};
  constexpr double most = std::numeric_limits<double>::max();
  double x_low = most, x_high = -most, y_low = most, y_high = -most;
  for (const Series& one : series) {
    for (const ChartPoint& point : one.points) {
      x_low = std::min(x_low, point.x), x_high = std::max(x_high, point.x);
      y_low = std::min(y_low, point.y), y_high = std::max(y_high, point.y);
    }
  }
  const Scale x(x_low, x_high, axes.log_x, plot_left, view_width - plot_right);
  const Scale y(y_low, y_high, axes.log_y, view_height - plot_bottom, plot_top);
  std::string svg = draw_axes(axes, x, y);
  for (std::size_t s = 0; s < series.size(); ++s) svg += draw_series(series[s], s, x, y);
  return figure(title, fmt::format("{} {}", view_width, view_height), svg, legend_of(series));
}

std::string draw_bars(const std::string& title, const std::string& unit, const std::vector<Bar>& bars) {
  double most = 0;
  for (const Bar& bar : bars) {
    if (std::isfinite(bar.value)) most = std::max(most, bar.value);
    if (bar.limit && std::isfinite(*bar.limit)) most = std::max(most, *bar.limit);
  }
  if (most <= 0) return {};
  constexpr double step = 44, text = 18;
  const double scale = (view_width - 2) / most;
  std::string svg;
  double y = 0;
  for (const Bar& bar : bars) {
    if (!std::isfinite(bar.value)) continue;
    const bool has_limit = bar.limit && std::isfinite(*bar.limit);
    const std::string limit = has_limit ? fmt::format(", limit {}", short_number(*bar.limit)) : "";
    svg += fmt::format("<text x=\"0\" y=\"{:.1f}\">{}: {} {}{}</text>", y + 14, escaped(bar.name),
                       short_number(bar.value), escaped(unit), limit);
    svg += fmt::format("<rect x=\"0\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"16\" fill=\"var(--s0)\" />", y + text,
                       std::max(0.0, bar.value * scale));
    if (has_limit) {
      svg += fmt::format("<path class=\"limit\" d=\"M{:.1f} {:.1f}v20\" />", *bar.limit * scale, y + text - 2);
    }
    svg += "\n";
    y += step;
  }
  return figure(title, fmt::format("{} {}", view_width, y), svg, "");
}

std::string draw_grid(const std::string& title, const ValueGrid& grid) {
  double low = std::numeric_limits<double>::max(), high = -low;
  for (const double value : grid.values) {
    if (!std::isfinite(value)) continue;
    low = std::min(low, value), high = std::max(high, value);
  }
  if (high < low || grid.columns.empty()) return {};
  constexpr double row = 26, names = 90;
  const double column = (view_width - names) / static_cast<double>(grid.columns.size());
  const double stride = std::max(1.0, std::ceil(26 / column));  // columns whose names would meet go without
  std::string svg;
  for (std::size_t r = 0; r < grid.rows.size(); ++r) {
    const double y = static_cast<double>(r) * row;
    svg += fmt::format("<text x=\"0\" y=\"{:.1f}\">{}</text>", y + 18, escaped(grid.rows[r]));
    for (std::size_t c = 0; c < grid.columns.size(); ++c) {
      const double value = grid.values[r * grid.columns.size() + c];
      if (!std::isfinite(value)) continue;
      const double share = high > low ? 0.12 + 0.88 * (value - low) / (high - low) : 0.6;
      svg += fmt::format(
          "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"var(--s0)\" "
          "fill-opacity=\"{:.3f}\">"
          "<title>{} {}: {}</title></rect>",
          names + static_cast<double>(c) * column, y, std::max(1.0, column - 1), row - 2, share, escaped(grid.rows[r]),
          escaped(grid.columns[c]), format_number(value));
    }
    svg += "\n";
  }
  const double end = static_cast<double>(grid.rows.size()) * row;
  for (std::size_t c = 0; c < grid.columns.size(); c += static_cast<std::size_t>(stride)) {
    svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>\n",
                       names + (static_cast<double>(c) + 0.5) * column, end + 16, escaped(grid.columns[c]));
  }
  const std::string range =
      fmt::format("<p class=\"faint\">light: {}, dark: {}</p>\n", short_number(low), short_number(high));
  return figure(title, fmt::format("{} {}", view_width, end + 22), svg, range);
}

}  // namespace hack::jobs
