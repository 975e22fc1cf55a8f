#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "experiments/experiment.hpp"
#include "experiments/pattern_json.hpp"
#include "kernels_ref/layout/layout.hpp"

/// The paper's figure 1 with numbers: which sub-sequence each token of a frame belongs to, and whom
/// one query attends to, for Skiparse-1D beside Skiparse-2D of the same sparsity.
namespace ospsim {
namespace {

/// f(token) for the tokens of one frame, as H rows of W.
template <class F>
Json frame_map(const Grid& grid, std::int64_t frame, const F& f) {
  Json rows = Json::array();
  for (std::int64_t y = 0; y < grid.h; ++y) {
    Json row = Json::array();
    for (std::int64_t x = 0; x < grid.w; ++x) row.push_back(f((frame * grid.h + y) * grid.w + x));
    rows.push_back(std::move(row));
  }
  return rows;
}

Json phase_maps(const Layout& layout, std::int64_t query) {
  const std::int64_t own = layout.place(query).subsequence;
  return {{"subsequence",
           frame_map(layout.grid(), 0, [&](auto i) { return layout.place(i).subsequence; })},
          {"attended", frame_map(layout.grid(), 0, [&](auto i) {
             return layout.place(i).subsequence == own ? 1 : 0;
           })}};
}

Json pattern_maps(const Grid& grid, std::int64_t query, const char* name, const char* ratio) {
  const Pattern pattern = parse_pattern(name, parse_ratio(ratio));
  Json maps{{"ratio", ratio_json(pattern.ratio)}};
  for (const Phase phase : {Phase::token, Phase::group})
    maps[std::string(to_string(phase))] = phase_maps(Layout(pattern, grid, phase), query);
  return maps;
}

Json frame(const Grid& grid, std::int64_t y, std::int64_t x) {
  const std::int64_t query = y * grid.w + x;
  return {{"grid", {grid.t, grid.h, grid.w}},
          {"query", {0, y, x}},
          {"skiparse-1d", pattern_maps(grid, query, "skiparse-1d", "4")},
          {"skiparse-2d", pattern_maps(grid, query, "skiparse-2d", "2")}};
}

Json run(const Request&) {
  const Grid small{1, 8, 8}, p480 = grid_of_video("480p", 81), p720 = grid_of_video("720p", 81);
  return {{"experiment", "figure1"},
          {"small", frame(small, 3, 3)},
          {"480p", frame(p480, p480.h / 2, p480.w / 2)},
          {"720p", frame(p720, p720.h / 2, p720.w / 2)}};
}

std::string text(const Json& document, const Style& style) {
  std::string out;
  for (const char* pattern : {"skiparse-1d", "skiparse-2d"})
    for (const char* phase : {"token", "group"}) {
      const Json& maps = document.at("small").at(pattern).at(phase);
      out += fmt::format(
          "{}, {} phase: sub-sequence of each token of an 8x8 frame; the query's in bold\n",
          pattern, phase);
      for (std::size_t y = 0; y < maps.at("subsequence").size(); ++y) {
        for (std::size_t x = 0; x < maps.at("subsequence")[y].size(); ++x) {
          const bool attended = maps.at("attended").at(y).at(x).get<int>() == 1;
          out += ' ' + style.paint(maps.at("subsequence").at(y).at(x).dump(),
                                   attended ? Colour::bold : Colour::dim);
        }
        out += '\n';
      }
      out += '\n';
    }
  return out + "The maps of whole 480P and 720P frames are in the saved file and in --json.\n";
}

}  // namespace

Experiment figure1() {
  return {.name = "figure1",
          .summary = "Sub-sequences of a frame and whom one query attends to, 1-D beside 2-D",
          .run = run,
          .text = text};
}

}  // namespace ospsim
