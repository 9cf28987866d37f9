#include "model/evaluate/base_logits_file.hpp"

#include <cstring>
#include <limits>
#include <string_view>

#include "kernels/error.hpp"

namespace hack::model {
namespace {

constexpr std::string_view base_magic = "_logits_";

struct BaseHeader {
  std::int32_t context;
  std::int32_t vocabulary;
  std::int32_t chunks;
};

}  // namespace

BaseLogitsFile::BaseLogitsFile(const std::filesystem::path& path) : file_(path) {
  const std::size_t head = base_magic.size() + sizeof(BaseHeader);
  validate(file_.size() >= head && std::memcmp(file_.bytes().data(), base_magic.data(), base_magic.size()) == 0,
           "{} is no file of base logits (it does not begin with {}); name one that this program or "
           "llama-perplexity --kl-divergence-base has written",
           path.string(), base_magic);
  BaseHeader header;
  std::memcpy(&header, file_.bytes(base_magic.size(), sizeof(header)).data(), sizeof(header));
  validate(header.context >= 4 && header.vocabulary >= 1 && header.chunks >= 1,
           "{} is damaged (context {}, vocabulary {}, {} chunks); write it again", path.string(), header.context,
           header.vocabulary, header.chunks);
  context_ = header.context;
  vocabulary_ = header.vocabulary;
  chunks_ = header.chunks;
  // Each factor is below 2^31, so that the products of two are exact; the third could only pass 2^64 in a file of
  // more than that.
  const auto tokens = static_cast<std::uint64_t>(context_) * static_cast<std::uint64_t>(chunks_);
  const auto chunk = static_cast<std::uint64_t>(base_rows(context_)) *
                     static_cast<std::uint64_t>(base_row_floats(vocabulary_)) * sizeof(float);
  const auto expected = static_cast<long double>(head) + static_cast<long double>(tokens) * sizeof(std::int32_t) +
                        static_cast<long double>(chunk) * static_cast<long double>(chunks_);
  validate(expected == static_cast<long double>(file_.size()),
           "{} has {} bytes, its header says {:.0f} ({} chunks of {} tokens, vocabulary {}); the run that wrote it may "
           "have been stopped: write it again",
           path.string(), file_.size(), static_cast<double>(expected), chunks_, context_, vocabulary_);
  const auto ids = file_.bytes(head, tokens * sizeof(std::int32_t));
  // The file is mapped to a page, and all lengths before a row are multiples of four bytes.
  tokens_ = {reinterpret_cast<const std::int32_t*>(ids.data()), static_cast<std::size_t>(tokens)};
  for (const std::int32_t id : tokens_) {
    validate(id >= 0 && id < vocabulary_, "{} is damaged (token id {} in a vocabulary of {}); write it again",
             path.string(), id, vocabulary_);
  }
  first_row_ = head + ids.size();
}

BaseRow BaseLogitsFile::row(index_t chunk, index_t row) const {
  HACK_EXPECT(chunk >= 0 && chunk < chunks_ && row >= 0 && row < base_rows(context_));
  const auto length = static_cast<std::uint64_t>(base_row_floats(vocabulary_)) * sizeof(float);
  const auto number = static_cast<std::uint64_t>(chunk * base_rows(context_) + row);
  const std::byte* bytes = file_.bytes(first_row_ + number * length, length).data();
  BaseRow out;
  std::memcpy(&out.scale, bytes, sizeof(float));
  std::memcpy(&out.minimum, bytes + sizeof(float), sizeof(float));
  out.codes = {reinterpret_cast<const std::uint16_t*>(bytes + 2 * sizeof(float)),
               static_cast<std::size_t>(vocabulary_)};
  return out;
}

BaseLogitsWriter::BaseLogitsWriter(const std::filesystem::path& path, index_t context, index_t vocabulary,
                                   std::span<const int> tokens)
    : file_(path), chunks_(std::ssize(tokens) / context) {
  HACK_EXPECT(std::ssize(tokens) == chunks_ * context && chunks_ <= std::numeric_limits<std::int32_t>::max());
  const BaseHeader header{static_cast<std::int32_t>(context), static_cast<std::int32_t>(vocabulary),
                          static_cast<std::int32_t>(chunks_)};
  file_.write(base_magic);
  file_.write(std::as_bytes(std::span(&header, 1)));
  file_.write(std::as_bytes(tokens));
}

void BaseLogitsWriter::add(index_t chunk, std::span<const float> rows) {
  waiting_.emplace(chunk, std::vector<float>(rows.begin(), rows.end()));
  for (auto first = waiting_.begin(); first != waiting_.end() && first->first == next_; first = waiting_.begin()) {
    file_.write(std::as_bytes(std::span(first->second)));
    waiting_.erase(first);
    ++next_;
  }
}

void BaseLogitsWriter::finish() {
  HACK_EXPECT(next_ == chunks_);
  file_.finish();
}

}  // namespace hack::model
