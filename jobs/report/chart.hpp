#pragma once

#include <optional>
#include <string>
#include <vector>

namespace hack::jobs {

/// Pictures as HTML figures with inline SVG. Colours come from the page's style; texts are escaped. A picture without a
/// number that can be drawn is empty.

struct ChartPoint {
  double x = 0, y = 0;
  std::string label;  ///< written beside it; empty: nothing
};

struct Series {
  std::string name;
  std::vector<ChartPoint> points;
  bool line = true;     ///< points are joined in the order of x
  bool dashed = false;  ///< a model or an ideal, no measurement: a dashed line without points
};

struct Axes {
  std::string x, y;
  bool log_x = false, log_y = false;
};

/// Points and lines over two axes, with a legend where there are several series.
std::string draw_chart(const std::string& title, const Axes& axes, std::vector<Series> series);

struct Bar {
  std::string name;
  double value = 0;
  std::optional<double> limit;  ///< marked on the bar
};

/// Horizontal bars from 0, each with its name and value.
std::string draw_bars(const std::string& title, const std::string& unit, const std::vector<Bar>& bars);

/// One square a value, darker where it is larger, from the least to the most; NaN: no square.
struct ValueGrid {
  std::vector<std::string> rows, columns;
  std::vector<double> values;  ///< (rows, columns)
};
std::string draw_grid(const std::string& title, const ValueGrid& grid);

}  // namespace hack::jobs
