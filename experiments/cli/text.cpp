#include "experiments/cli/text.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <numeric>

namespace ospsim {
namespace {

constexpr std::size_t gap = 2;

/// Breaks at spaces into lines of at most `width` characters; a longer word stands alone.
std::vector<std::string> fold(const std::string& text, std::size_t width) {
  std::vector<std::string> lines{""};
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t end = std::min(text.find(' ', at), text.size());
    const std::string word = text.substr(at, end - at);
    if (!lines.back().empty() && lines.back().size() + 1 + word.size() > width)
      lines.emplace_back();
    if (!lines.back().empty()) lines.back() += ' ';
    lines.back() += word;
    at = end + 1;
  }
  return lines;
}

}  // namespace

std::string Style::paint(const std::string& text, Colour tone) const {
  if (!colour || tone == Colour::plain) return text;
  constexpr const char* codes[] = {"0", "1", "2", "31", "32", "33", "34"};
  return fmt::format("\x1b[{}m{}\x1b[0m", codes[static_cast<int>(tone)], text);
}

Style style_of_stdout() {
  Style style;
  if (isatty(STDOUT_FILENO) == 0) return style;
  const char* const no_color = std::getenv("NO_COLOR");
  style.colour = no_color == nullptr || *no_color == '\0';
  winsize window{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 0)
    style.width = window.ws_col;
  return style;
}

std::string Table::text(const Style& style) const {
  std::vector<std::size_t> widths;
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    std::size_t width = columns_[c].heading.size();
    for (const auto& row : rows_) width = std::max(width, row[c].text.size());
    widths.push_back(width);
  }
  const std::size_t total =
      std::accumulate(widths.begin(), widths.end(), std::size_t{0}) + gap * (widths.size() - 1);
  const auto room = static_cast<std::size_t>(style.width);
  for (std::size_t c = 0; c < columns_.size(); ++c)
    if (columns_[c].folds && total > room) {
      constexpr std::size_t least = 24;
      const std::size_t excess = total - room;
      widths[c] = widths[c] > excess + least ? widths[c] - excess : least;
    }

  std::string out;
  const auto add_row = [&](const std::vector<Cell>& row) {
    std::vector<std::vector<std::string>> folded;
    std::size_t height = 1;
    for (std::size_t c = 0; c < row.size(); ++c) {
      folded.push_back(columns_[c].folds ? fold(row[c].text, widths[c]) : std::vector{row[c].text});
      height = std::max(height, folded.back().size());
    }
    for (std::size_t line = 0; line < height; ++line) {
      std::string text;
      std::size_t pending = 0;  // blanks are written only in front of something
      for (std::size_t c = 0; c < row.size(); ++c) {
        const std::string cell = line < folded[c].size() ? folded[c][line] : "";
        const std::size_t blanks = widths[c] - std::min(widths[c], cell.size());
        const bool right = columns_[c].align == Align::right;
        if (!cell.empty()) {
          text.append(pending + (right ? blanks : 0), ' ');
          text += style.paint(cell, row[c].colour);
          pending = 0;
        } else if (right) {
          pending += blanks;
        }
        pending += (right ? 0 : blanks) + gap;
      }
      out += text + '\n';
    }
  };
  std::vector<Cell> headings;
  for (const auto& column : columns_) headings.emplace_back(column.heading, Colour::bold);
  add_row(headings);
  for (const auto& row : rows_) add_row(row);
  return out;
}

std::string facts(const std::vector<std::pair<std::string, std::string>>& lines) {
  std::size_t width = 0;
  for (const auto& [name, value] : lines) width = std::max(width, name.size());
  std::string out;
  for (const auto& [name, value] : lines)
    out += fmt::format("{:<{}}{}\n", name, width + gap, value);
  return out;
}

std::string number_text(const Json& value, int digits) {
  if (value.is_null()) return "-";
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  if (value.is_number_integer()) return fmt::format("{}", value.get<std::int64_t>());
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_number()) return value.dump();
  const double number = value.get<double>();
  if (std::isnan(number)) return "-";
  if (std::abs(number) < 1e9 && number == std::floor(number)) return fmt::format("{:.0f}", number);
  return fmt::format("{:.{}g}", number, digits);
}

std::string extents_text(const Json& extents) {
  if (!extents.is_array()) return number_text(extents);
  std::string text;
  for (const auto& extent : extents) {
    if (!text.empty()) text += 'x';
    text += extent.dump();
  }
  return text;
}

std::string phases_text(const Json& values) {
  if (values.size() == 1) return number_text(values.at(0));
  return number_text(values.at(0)) + " (token phase), " + number_text(values.at(1)) +
         " (group phase)";
}

}  // namespace ospsim
