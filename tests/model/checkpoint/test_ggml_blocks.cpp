#include "model/checkpoint/ggml_blocks.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace hack::model {
namespace {

/// One block (eight numbers of a plain type) and what the gguf Python package (0.19) decodes it to: FNV-1a over the
/// bytes of all its floats, and some of them.
struct Case {
  GgmlType type;
  std::string hex;
  std::uint64_t checksum;
  std::vector<std::pair<index_t, float>> values;
};

// Random bytes under chosen scales: negative ones, and one below the normal range of a half.
const std::vector<Case> small_blocks = {
    {GgmlType::f32,
     "193da13a2df5983ecc5b8cbed4fd63bf9ccae8be8cdc7dbf2359763d2c8cab3f",
     0x288552ed187d4341u,
     {{0, 0x1.427a32p-10f}, {3, -0x1.c7fba8p-1f}, {4, -0x1.d19538p-2f}, {7, 0x1.571858p+0f}}},
    {GgmlType::f16,
     "003e80c0662eff7b0100ff830000d0e3",
     0x7ccd9ba66b28a2b1u,
     {{0, 0x1.8p+0f}, {3, 0x1.ffcp+15f}, {4, 0x1p-24f}, {7, -0x1.f4p+9f}}},
    {GgmlType::bf16,
     "803f81bf01007f7f00804940cd3df7c2",
     0xf366e7fab630b1fdu,
     {{0, 0x1p+0f}, {3, 0x1.fep+127f}, {4, -0x0.0p+0f}, {7, -0x1.eep+6f}}},
    {GgmlType::q5_0,
     "a1a68b4ae5f1a94106a0956a26afbccdafe562f90a94",
     0x92739b1a0a8ca757u,
     {{0, -0x1.dd48p-3f}, {3, -0x0.0p+0f}, {15, 0x1.3e3p-2f}, {16, -0x1.0928p-2f}, {31, -0x1.dd48p-3f}}},
    {GgmlType::q5_1,
     "7d2ce1b55f5693c642276ad5ab2da7394551370e99b2d74c",
     0x960ace05763dab4u,
     {{0, 0x1.ca3p-1f}, {3, 0x1.1af4p+0f}, {15, 0x1.e58p-2f}, {16, 0x1.09p+0f}, {31, 0x1.09p+0f}}},
    {GgmlType::iq4_nl,
     "319f3427fa48d732a1df70aca1e926115901",
     0x3537d059ce404c0cu,
     {{0, 0x1.6061p-2f}, {3, -0x1.cc4p-8f}, {15, 0x1.75f4p-1f}, {16, 0x1.d371p-2f}, {31, 0x1.c8a78p-1f}}},
    {GgmlType::q8_0,
     "c0285e19a621f9bd0ccc21397c1ec795ca7748dc03d17a88934d85527357a2e64647",
     0x6890cb19029fc99cu,
     {{0, 0x1.be8p+1f}, {15, 0x1.1aap+2f}, {16, 0x1.56p+1f}, {31, 0x1.514p+1f}}},
    {GgmlType::q4_0,
     "c1b2f03e2fb81f223f4192c58efd5185f071",
     0xaec0b4f47baf0fb7u,
     {{0, 0x1.b04p+0f}, {15, 0x1.7a38p+0f}, {16, -0x1.7a38p+0f}, {31, 0x1.b04p-3f}}},
    {GgmlType::q4_1,
     "902c3fb81ef7677a1f132a818d882195a100b28d",
     0x4ebc7e2eab09949bu,
     {{0, 0x1.de8p-2f}, {15, 0x1.958p-2f}, {16, -0x1.d68p-2f}, {31, 0x1.44p-5f}}},
    {GgmlType::q8_0,
     "54006b236b82481bd9fe630dc3ce3be4ebcab72f45b35223479f6e794d57037e2cfd",
     0x943165c435340982u,
     {{0, 0x1.18ep-11f}, {15, -0x1.1b8p-12f}, {16, -0x1.7f4p-12f}, {31, -0x1.f8p-17f}}},
};

const std::vector<Case> blocks_of_256 = {
    {GgmlType::q2_k,
     "8b4ae5f1a94106a0956a26afbccdafe562f90a945f5693c642276ad5ab2da7394551370e99b2d74c3427fa48d732a1df"
     "70aca1e926115901dd06f27f8f063cd25e19a621f9bd0ccc21397c1ec795ca77a82260a5",
     0x5be96e3aa3bb6b0eu,
     {{0, 0x1.d0ep-2f},
      {31, 0x1.e56p-2f},
      {32, 0x1.2dp-2f},
      {100, 0x1.3f8p-4f},
      {128, 0x1.83p-3f},
      {191, 0x1.9ebp-2f},
      {255, 0x1.6f9p-2f}}},
    {GgmlType::q3_k,
     "7a88934d85527357a2e64647f03e2fb81f223f4192c58efd5185f0711ef7677a1f132a818d882195a100b28d6b236b82"
     "481bd9fe630dc3ce3be4ebcab72f45b35223479f6e794d57037e2cfde9e15a7789781e3721a557d8e5a703296dcb81db"
     "3f65cf9c1bdc5d1d8fc83f0bfe21",
     0xa6de9e2f98ce9554u,
     {{0, -0x1.7384p-2f},
      {31, 0x1.4394p-2f},
      {32, 0x1.16a3p+0f},
      {100, -0x1.5b8cp-1f},
      {128, -0x1.5b8cp-1f},
      {191, -0x1.13a4p-1f},
      {255, 0x1.7384p-2f}}},
    {GgmlType::iq4_xs,
     "21932209851d3d24f4c0cf83fe4363f82f4759778955f6ced681cbea7179ced2c8f814a13472ff70ce369d8385452a44"
     "f318337f08cd1e614f235d3f83bc45fee9ee0403a79be118544441317c9311f85e0429b19f7ec0e156f65a3322e791b8"
     "80ee995e3f0d307d2fbaf400693a179e0d027ed4e58be7a9ebc28a271d43a78855638144eb6603f7",
     0xc73eb66aa0af09c5u,
     {{0, 0x1.b4a54p-3f},
      {31, -0x1.d84a4p-3f},
      {32, -0x1.d682p-2f},
      {100, -0x1.c0e5f8p+0f},
      {128, -0x1.05fccp-3f},
      {191, 0x1.abbcp-6f},
      {255, 0x1.799bf8p+1f}}},
    {GgmlType::q4_k,
     "7218b522e9e15a7789781e3721a557d8e5a703296dcb81db3f65cf9c1bdc5d1d8fc83f0b0bb4db71be572209851d3d24"
     "f4c0cf83fe4363f82f4759778955f6ced681cbea7179ced2c8f814a13472ff70ce369d8385452a44f318337f08cd1e61"
     "4f235d3f83bc45fee9ee0403a79be118544441317c9311f85e0429b19f7ec0e156f65a3322e791b880ee995e3f0d307d",
     0x546aca2dcfdcbeb0u,
     {{0, 0x1.4eebp-2f},
      {31, 0x1.e794p-3f},
      {32, 0x1.13aep-2f},
      {100, 0x1.11facp+0f},
      {128, 0x1.0b2a8p+0f},
      {191, -0x1.cdeep-3f},
      {255, 0x1.8e0cp-3f}}},
    {GgmlType::q5_k,
     "cb14ea252fbaf400693a179e0d027ed4e58be7a9ebc28a271d43a78855638144eb6603f7b2725de11fe6ac2f88a68182"
     "869793f0aad6ded8116e3ab51681c4a374fec70a68b3e4bdc92b387987416c17ec90963ec766888ab4b80eba7c5cfd81"
     "121bea9cee1810dfd5169faf26cd7b5c30c8aba44d972299e8c7b41b9a1d2b0f180600a974d63b6332202c998e82b252"
     "2c49c4394c7d73265b6aaf61b288fbd0aecfa766616223611e764c93aa388ffa",
     0xc76f58a3fc35b06du,
     {{0, 0x1.0d138p-2f},
      {31, -0x1.1fd7ap-1f},
      {32, -0x1.980ap-1f},
      {100, -0x1.62d8p-1f},
      {128, -0x1.7a8p-2f},
      {191, 0x1.9767p-3f},
      {255, -0x1.c9f98p-1f}}},
    {GgmlType::q6_k,
     "bd0a6a6412b209971e2d827076f7e49ab8fa197271be53a3442b128cdad72bad0f8aeef42a0b9a26d74fc78f2562b870"
     "1097a55b5510543d27ed600de3200a6749307fd37899c118819af6674394c3f7aa5f93f32c810a37ca7bf1013ccdf8ab"
     "8ab4a6039954e84cbe3b3f7f1183c3df8375c517b4e786a9aadf7488f892b12191387ad86aca56d8531c927b931fe8f1"
     "6e795b9b331767e712dbe8f5331dd9917f01e64710dd3c25f4d21690a049453135550ec0193a8bed1783d53ec944658d"
     "1d28960c44b0382e93438e60788d51e23a0d",
     0xdf4bbc8813a2b413u,
     {{0, -0x1.c6b6p-6f},
      {31, -0x1.3998p-5f},
      {32, 0x1.26522p-1f},
      {100, -0x1.001ap-2f},
      {128, -0x1.bd131p-1f},
      {191, 0x1.0a8ep-1f},
      {255, -0x1.3998p-6f}}},
};

std::vector<Case> cases() {
  std::vector<Case> all = small_blocks;
  all.insert(all.end(), blocks_of_256.begin(), blocks_of_256.end());
  return all;
}

std::vector<std::byte> bytes_of(const std::string& hex) {
  std::vector<std::byte> out;
  for (std::size_t i = 0; i < hex.size(); i += 2) {
    out.push_back(static_cast<std::byte>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  }
  return out;
}

std::uint64_t checksum(const std::vector<float>& x) {
  std::uint64_t state = 0xcbf29ce484222325u;
  const auto* bytes = reinterpret_cast<const unsigned char*>(x.data());
  for (std::size_t i = 0; i < x.size() * sizeof(float); ++i) state = (state ^ bytes[i]) * 0x100000001b3u;
  return state;
}

std::vector<float> decode(GgmlType type, const std::vector<std::byte>& row) {
  std::vector<float> out(row.size() / static_cast<std::size_t>(block_bytes(type)) *
                         static_cast<std::size_t>(block_size(type)));
  dequantize(type, row.data(), 0, std::ssize(out), out.data());
  return out;
}

TEST(GgmlBlocks, DecodesEveryTypeAsTheReferenceDoes) {
  for (const Case& c : cases()) {
    const std::vector<float> x = decode(c.type, bytes_of(c.hex));
    for (const auto& [i, value] : c.values)
      EXPECT_EQ(x[static_cast<std::size_t>(i)], value) << to_string(c.type) << " " << i;
    EXPECT_EQ(checksum(x), c.checksum) << to_string(c.type);
  }
}

TEST(GgmlBlocks, DecodesHandMadeBlocks) {
  // Q4_0 with scale 2: byte 0x9f holds 15 - 8 = 7 as number 0 and 9 - 8 = 1 as number 16.
  std::vector<std::byte> q4_0(18, std::byte{0x88});
  q4_0[0] = std::byte{0x00};
  q4_0[1] = std::byte{0x40};
  q4_0[2] = std::byte{0x9f};
  const std::vector<float> x = decode(GgmlType::q4_0, q4_0);
  EXPECT_EQ(x[0], 14.0f);
  EXPECT_EQ(x[16], 2.0f);
  EXPECT_EQ(x[1], 0.0f);
  EXPECT_EQ(x[31], 0.0f);

  // Q8_0 with scale 0.5 and -3 as number 31.
  std::vector<std::byte> q8_0(34, std::byte{0});
  q8_0[1] = std::byte{0x38};
  q8_0[33] = std::byte{0xfd};
  EXPECT_EQ(decode(GgmlType::q8_0, q8_0)[31], -1.5f);
}

TEST(GgmlBlocks, AnyRangeOfARowIsAPartOfTheWhole) {
  for (const Case& c : cases()) {
    const std::vector<std::byte> block = bytes_of(c.hex);
    std::vector<std::byte> row;
    for (int i = 0; i < 3; ++i) row.insert(row.end(), block.begin(), block.end());
    row[row.size() / 2] ^= std::byte{0x11};  // so that the blocks differ
    const std::vector<float> whole = decode(c.type, row);
    const index_t n = std::ssize(whole);
    for (index_t first = 0; first < n; first += 7) {
      for (index_t count : {index_t{1}, index_t{5}, index_t{40}, n / 2, n - first}) {
        count = std::min(count, n - first);
        std::vector<float> part(static_cast<std::size_t>(count));
        dequantize(c.type, row.data(), first, count, part.data());
        EXPECT_EQ(std::memcmp(part.data(), whole.data() + first, part.size() * sizeof(float)), 0)
            << to_string(c.type) << " " << first << " + " << count;
      }
    }
  }
}

TEST(GgmlBlocks, ReadsRowsAtOddAddresses) {
  for (const Case& c : cases()) {
    const std::vector<std::byte> block = bytes_of(c.hex);
    std::vector<std::byte> shifted(block.size() + 1);
    std::memcpy(shifted.data() + 1, block.data(), block.size());
    std::vector<float> x(decode(c.type, block).size());
    dequantize(c.type, shifted.data() + 1, 0, std::ssize(x), x.data());
    EXPECT_EQ(checksum(x), checksum(decode(c.type, block))) << to_string(c.type);
  }
}

TEST(GgmlBlocks, GoIntoCodecsWithoutAnyRounding) {
  for (const Case& c : cases()) {
    if (!codec_of(c.type)) continue;
    const Codec codec = *codec_of(c.type);
    const std::vector<std::byte> block = bytes_of(c.hex);
    std::vector<std::byte> row;
    for (int i = 0; i < 3; ++i) row.insert(row.end(), block.begin(), block.end());
    row[row.size() / 2] ^= std::byte{0x11};  // so that the blocks differ
    const index_t all = std::ssize(row) / block_bytes(c.type), count = all - 1, cols = count * block_size(c.type);
    std::vector<std::byte> codes(static_cast<std::size_t>(code_bytes(codec, cols)));
    std::vector<std::byte> scales(static_cast<std::size_t>(scale_bytes(codec, cols)));
    split_blocks(c.type, row.data(), 1, count, codes.data(), scales.data());
    if (ggml_type_of(codec)) {
      std::vector<std::byte> joined(static_cast<std::size_t>(count * block_bytes(c.type)));
      EXPECT_EQ(ggml_type_of(codec), c.type);
      join_blocks(c.type, codes.data(), scales.data(), count, joined.data());
      EXPECT_TRUE(std::equal(joined.begin(), joined.end(), row.begin() + block_bytes(c.type))) << to_string(c.type);
    }
    std::vector<float> x(static_cast<std::size_t>(cols)), expected = x;
    widen(codec, codes.data(), scales.data(), 1, cols, x.data());
    dequantize(c.type, row.data(), block_size(c.type), cols, expected.data());
    for (std::size_t i = 0; i < x.size(); ++i) EXPECT_EQ(x[i], expected[i]) << to_string(c.type) << " " << i;
  }
}

TEST(GgmlBlocks, KnowsItsTypesByNumber) {
  EXPECT_EQ(ggml_type(12), GgmlType::q4_k);
  EXPECT_EQ(ggml_type(30), GgmlType::bf16);
  EXPECT_FALSE(ggml_type(16).has_value());  // IQ2_XXS
  EXPECT_FALSE(ggml_type(0xffffffffu).has_value());
  EXPECT_EQ(ggml_type_name(12), "Q4_K");
  EXPECT_EQ(ggml_type_name(16), "IQ2_XXS");
  EXPECT_EQ(ggml_type_name(77), "GGML type 77");
  EXPECT_EQ(row_bytes(GgmlType::q6_k, 512), 420);
  EXPECT_EQ(row_bytes(GgmlType::q4_1, 64), 40);
}

}  // namespace
}  // namespace hack::model
