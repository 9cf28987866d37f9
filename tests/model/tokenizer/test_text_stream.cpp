// Streams of text against a search in the whole text, for every way to cut it.

#include "model/tokenizer/text_stream.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace hack::model {
namespace {

struct Shown {
  std::string text;
  bool is_stopped;
};

/// Bytes come `step` at a time. Each piece that is shown before the end consists of whole characters.
Shown show(const std::string& text, const std::vector<std::string>& stops, std::size_t step) {
  TextStream stream(stops);
  std::string shown;
  for (std::size_t i = 0; i < text.size(); i += step) {
    const std::string piece = stream.add(std::string_view(text).substr(i, step));
    shown += piece;
    const std::size_t next = shown.size();
    if (!stream.is_stopped() && next < text.size()) {
      EXPECT_NE(static_cast<unsigned char>(text[next]) & 0xC0, 0x80) << "cut at byte " << next;
    }
  }
  shown += stream.finish();
  return {shown, stream.is_stopped()};
}

TEST(TextStream, EndsInFrontOfTheFirstStop) {
  const std::string text = "aab aabaac, ünï¢ödé €𝄞 and the end\n\nmore";
  for (const std::vector<std::string>& stops : {std::vector<std::string>{},
                                                {"aabaac"},
                                                {"aac", "aabaa"},
                                                {"\n\n"},
                                                {"¢"},
                                                {"€𝄞 "},
                                                {"never", "end\n"},
                                                {"more!"}}) {
    std::size_t first = std::string::npos;
    for (const std::string& stop : stops) first = std::min(first, text.find(stop));
    for (std::size_t step = 1; step <= text.size(); ++step) {
      const Shown shown = show(text, stops, step);
      EXPECT_EQ(shown.text, text.substr(0, first)) << step;
      EXPECT_EQ(shown.is_stopped, first != std::string::npos);
    }
  }
}

TEST(TextStream, GivesBackWhatIsNoCharacter) {
  for (const std::string text : {"a\xE2\x82", "\x80\x80\x80\x80 b\xFF"}) {
    TextStream stream({"stop"});
    std::string shown;
    for (const char byte : text) shown += stream.add({&byte, 1});
    EXPECT_EQ(shown + stream.finish(), text);
  }
}

}  // namespace
}  // namespace hack::model
