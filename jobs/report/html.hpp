#pragma once

#include <optional>
#include <string>
#include <vector>

namespace hack::jobs {

/// Text as it may stand in HTML, between tags and in quoted attributes: & < > " ' become entities, control characters
/// that XML forbids become U+FFFD.
std::string escaped(const std::string& text);

/// A number for people: whole ones with commas, others with six significant digits.
std::string format_number(double value);

/// A cell of a table: what is shown, and what it is sorted by where it is a number.
struct Cell {
  std::string text;
  std::optional<double> number;
};

/// A table with a heading. Rows may be shorter than the heading.
struct Table {
  std::string title;
  std::vector<std::string> columns;
  std::vector<std::vector<Cell>> rows;
};

/// The table as HTML; a click on a column's heading sorts by it. Empty where there are no rows.
std::string to_html(const Table& table);

/// A whole page that asks nothing of the network: styles and script inside, light or dark as the reader's system is.
/// `body` is HTML.
std::string page(const std::string& title, const std::string& body);

}  // namespace hack::jobs
