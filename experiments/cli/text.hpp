#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "experiments/store/result_store.hpp"

namespace ospsim {

enum class Colour { plain, bold, dim, red, green, yellow, blue };

/// How text is to look where it is going.
struct Style {
  bool colour = false;
  int width = 140;  ///< columns of the terminal; 140 where there is none

  std::string paint(const std::string& text, Colour colour) const;
};
/// Colour only on a terminal and unless NO_COLOR is set.
Style style_of_stdout();

/// A table: columns as wide as their widest cell, numbers to the right. One column may be set to
/// fold, so that the table fits the width.
class Table {
 public:
  enum class Align { left, right };
  struct Column {
    std::string heading;
    Align align = Align::left;
    bool folds = false;
  };
  struct Cell {
    Cell(std::string cell_text, Colour cell_colour = Colour::plain)
        : text(std::move(cell_text)), colour(cell_colour) {}
    Cell(const char* cell_text) : text(cell_text) {}
    std::string text;
    Colour colour = Colour::plain;
  };

  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  void add(std::vector<Cell> row) { rows_.push_back(std::move(row)); }
  bool empty() const { return rows_.empty(); }
  std::string text(const Style& style) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<Cell>> rows_;
};

/// Lines "name  value", aligned; a list of pairs rather than a table.
std::string facts(const std::vector<std::pair<std::string, std::string>>& lines);

/// A JSON scalar as people write it: numbers with up to `digits` significant digits, null as "-".
std::string number_text(const Json& value, int digits = 5);

/// [21,45,80] as "21x45x80".
std::string extents_text(const Json& extents);

/// The number of the only phase, or one for each.
std::string phases_text(const Json& values);

}  // namespace ospsim
