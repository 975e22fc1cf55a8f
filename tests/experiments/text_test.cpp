#include "experiments/cli/text.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace ospsim {
namespace {

TEST(Text, TablesAlign) {
  Table table({{"name"}, {"ms", Table::Align::right}});
  table.add({"a", "1.5"});
  table.add({"longer", "12.25"});
  EXPECT_EQ(table.text({}), "name       ms\na         1.5\nlonger  12.25\n");
}

TEST(Text, TablesFoldToTheWidth) {
  Table table({{"id"}, {"what it says", Table::Align::left, true}, {"n", Table::Align::right}});
  table.add({"x", "one two three four five six seven eight", "7"});
  EXPECT_EQ(table.text({.width = 33}),
            "id  what it says                n\n"
            "x   one two three four five     7\n"
            "    six seven eight\n");
}

TEST(Text, ColourDoesNotChangeTheWidths) {
  Table table({{"a"}, {"b"}});
  table.add({{"x", Colour::red}, "y"});
  EXPECT_EQ(table.text({.colour = true}),
            "\x1b[1ma\x1b[0m  \x1b[1mb\x1b[0m\n\x1b[31mx\x1b[0m  y\n");
}

TEST(Text, Numbers) {
  EXPECT_EQ(number_text(nullptr), "-");
  EXPECT_EQ(number_text(true), "yes");
  EXPECT_EQ(number_text(80640), "80640");
  EXPECT_EQ(number_text(80640.0), "80640");
  EXPECT_EQ(number_text(1.0 / 3), "0.33333");
  EXPECT_EQ(number_text(6.523e15), "6.523e+15");
  EXPECT_EQ(extents_text({21, 45, 80}), "21x45x80");
  EXPECT_EQ(facts({{"a", "1"}, {"bcd", "2"}}), "a    1\nbcd  2\n");
}

}  // namespace
}  // namespace ospsim
